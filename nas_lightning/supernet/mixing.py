"""Mixing weights: what multiplies the outputs of operations and edges inside a supernet."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """The weights with which a supernet mixes, given to `Supernet.forward`.

    The supernet owns no α: relaxed, perturbed, sampled, pruned and hand-made weights are all
    the same call.

    Attributes:
        ops: By cell kind, weights of the operations (E, O).
        edges: By cell kind, weights of the edges (E,).
    """

    ops: Mapping[str, Tensor]
    edges: Mapping[str, Tensor]

    def detach(self) -> "Mixing":
        """The same weights, cut from the graph."""
        return Mixing(
            {kind: weights.detach() for kind, weights in self.ops.items()},
            {kind: weights.detach() for kind, weights in self.edges.items()},
        )
