"""Mixing weights: what multiplies the outputs of operations and edges inside a supernet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Active = tuple[tuple[int, ...], ...]
"""For each edge of a cell the indices of the operations that run."""


@dataclass(frozen=True)
class Mixing:
    """The weights with which a supernet mixes, given to `Supernet.forward`.

    The supernet owns no α: relaxed, perturbed, sampled, pruned and hand-made weights are all
    the same call.

    Attributes:
        ops: By cell kind, weights of the operations (E, O).
        edges: By cell kind, weights of the edges (E,).
        active: By cell kind, which operations run, where not all do: the others count as zero.
    """

    ops: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]
    active: Mapping[str, Active] = field(default_factory=dict)

    def detach(self) -> "Mixing":
        """The same weights, cut from the graph."""
        return Mixing(
            {kind: weights.detach() for kind, weights in self.ops.items()},
            {kind: weights.detach() for kind, weights in self.edges.items()},
            self.active,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, rounded to 1e-6: `{kind: {"ops": (E, O), "edges": (E,)}}`."""
        return {
            kind: {"ops": _rounded(self.ops[kind]), "edges": _rounded(self.edges[kind])}
            for kind in self.ops
        }


def _rounded(weights: Tensor) -> Any:
    return torch.tensor(weights.tolist(), dtype=torch.float64).round(decimals=6).tolist()
