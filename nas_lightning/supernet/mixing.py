"""Mixing weights: the factors of the outputs of operations and edges inside a supernet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Active = tuple[tuple[int, ...], ...]
"""For each edge of a cell, the indices of the operations that run."""


@dataclass(frozen=True)
class Mixing:
    """The mixing weights of all cells, an argument of `Supernet.forward`.

    The supernet owns no α, so relaxed, perturbed, sampled, pruned and hand-made weights are all
    passed in the same way.

    Attributes:
        ops: For each cell kind, the weights of the operations (E, O).
        edges: For each cell kind, the weights of the edges (E,).
        active: For each cell kind, the operations that run; the outputs of the others count as
            zero. All operations run in kinds that are left out.
        own: For each cell kind, the weights of the operations (E, O) of each of its cells, in their
            order. The cells of kinds that are left out share `ops`.
    """

    ops: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]
    active: Mapping[str, Active] = field(default_factory=dict)
    own: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def of(self, kind: str, index: int) -> tuple[Tensor, Tensor, Active | None]:
        """Return the weights of a cell's operations (E, O) and edges (E,), and what runs in it.

        Args:
            kind: Kind of the cell.
            index: Number of cells of this kind before it.
        """
        ops = self.own[kind][index] if kind in self.own else self.ops[kind]
        return ops, self.edges[kind], self.active.get(kind)

    def detach(self) -> "Mixing":
        """Return the weights detached from the autograd graph."""
        return Mixing(
            {kind: weights.detach() for kind, weights in self.ops.items()},
            {kind: weights.detach() for kind, weights in self.edges.items()},
            self.active,
            {kind: tuple(each.detach() for each in own) for kind, own in self.own.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, rounded to 1e-6: `{kind: {"ops": (E, O), "edges": (E,)}}`."""
        return {
            kind: {"ops": _rounded(self.ops[kind]), "edges": _rounded(self.edges[kind])}
            for kind in self.ops
        }


def _rounded(weights: Tensor) -> Any:
    return torch.tensor(weights.tolist(), dtype=torch.float64).round(decimals=6).tolist()
