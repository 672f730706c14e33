"""Relaxations: architecture parameters α, β → mixing weights."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from nas_lightning.architecture import Cell
from nas_lightning.supernet.simplex import onto_simplex

INITIAL_SCALE = 1e-3
"""Standard deviation of fresh α and β in the released code of DARTS and PC-DARTS."""


class OpRelaxation(ABC):
    """α of a cell (E, O) → weights of its operations (E, O)."""

    one_hot: bool = False
    """A sample has one operation an edge that is not zero, so that only this one need run."""

    @abstractmethod
    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Fresh α (E, O)."""

    @abstractmethod
    def weights(self, alpha: Tensor) -> Tensor:
        """Weights of the operations (E, O), those that validation and discretisation read."""

    def sample(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        """Weights of the operations (E, O) in a training step; drawn, where a method draws.

        Args:
            alpha: (E, O).
            generator: On the CPU, in the same state on every process.
        """
        return self.weights(alpha)

    def project_(self, alpha: Tensor) -> None:  # noqa: B027 (most relaxations are unconstrained)
        """Bring α (E, O) back into its domain, in place; called after every change of α."""


class SoftmaxOps(OpRelaxation):
    """Softmax over the operations of an edge (DARTS, equation 2)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Normal with standard deviation 1e-3 (E, O)."""
        shape = len(cell.edges), len(cell.primitives)
        return INITIAL_SCALE * torch.randn(shape, generator=generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """Rows sum to one (E, O)."""
        return alpha.softmax(dim=-1)


class SimplexOps(OpRelaxation):
    """α is the weights themselves, a point of the simplex on every edge (GAEA)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Equal weights (E, O)."""
        shape = len(cell.edges), len(cell.primitives)
        return torch.full(shape, 1 / shape[1])

    def weights(self, alpha: Tensor) -> Tensor:
        """α (E, O)."""
        return alpha

    def project_(self, alpha: Tensor) -> None:
        """Clamp and normalise every row."""
        alpha.copy_(onto_simplex(alpha))


class EdgeRelaxation(ABC):
    """β of a cell (E,) → weights of its edges (E,)."""

    @abstractmethod
    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor | None:
        """Fresh β (E,), or none if the edges have no parameters."""

    @abstractmethod
    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Weights of the edges (E,), on the device."""

    def pruned(self, cell: Cell) -> frozenset[int]:
        """Edges that are gone for good: their operations do not run."""
        return frozenset()

    def project_(self, beta: Tensor, cell: Cell) -> None:  # noqa: B027 (as above)
        """Bring β (E,) back into its domain, in place; called after every change of β."""


class EqualEdges(EdgeRelaxation):
    """Every edge counts fully: the node is the plain sum of its edges (DARTS)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> None:
        """No β."""
        return

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Ones (E,)."""
        return torch.ones(len(cell.edges), device=device)


class NodewiseSoftmax(EdgeRelaxation):
    """Softmax over the edges that end in one node (PC-DARTS, equation 4: edge normalisation)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Normal with standard deviation 1e-3 (E,)."""
        return INITIAL_SCALE * torch.randn(len(cell.edges), generator=generator)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """The weights of the edges into each node sum to one (E,)."""
        assert beta is not None
        parts = torch.split(beta, list(cell.fan_in))  # not by index, which would come from the host
        return torch.cat([part.softmax(dim=0) for part in parts])


class SimplexEdges(EdgeRelaxation):
    """β is the weights themselves; those of the edges into one node are a simplex (GAEA)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Equal weights at every node (E,)."""
        return onto_simplex(torch.ones(len(cell.edges)), cell.fan_in)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """β (E,)."""
        assert beta is not None
        return beta

    def project_(self, beta: Tensor, cell: Cell) -> None:
        """Clamp and normalise at every node."""
        beta.copy_(onto_simplex(beta, cell.fan_in))
