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
    """

    ops: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]
    active: Mapping[str, Active] = field(default_factory=dict)

    def detach(self) -> "Mixing":
        """Return the weights detached from the autograd graph."""
        return Mixing(
            {kind: weights.detach() for kind, weights in self.ops.items()},
            {kind: weights.detach() for kind, weights in self.edges.items()},
            self.active,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, rounded to 1e-6: `{kind: {"ops": (E, O), "edges": (E,)}}`."""
        return {
            kind: {"ops": _rounded(self.ops[kind]), "edges": _rounded(self.edges[kind])}
            for kind in self.ops
        }


def _rounded(weights: Tensor) -> Any:
    return torch.tensor(weights.tolist(), dtype=torch.float64).round(decimals=6).tolist()
