"""Relaxations: architecture parameters α, β → mixing weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas_lightning.architecture import Cell
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.simplex import onto_simplex

Step = Literal["weight", "arch"]
"""The step of a search that weights are sampled for. The architecture step may evaluate several
losses, all on the same sample; `arch` stands for each of them."""

INITIAL_SCALE = 1e-3
"""Standard deviation of initial α and β in the released code of DARTS and PC-DARTS."""


@dataclass(frozen=True)
class Sample:
    """The weights of a cell's operations for one training step.

    Attributes:
        weights: (E, O).
        active: For each edge, the operations that run; `None` if all do. The weights of the others
            are zero.
    """

    weights: Tensor
    active: Active | None = None


class OpRelaxation(ABC):
    """Relaxation of operations: α of a cell (E, O) → weights of its operations (E, O)."""

    runs_few: bool = False
    """True if a sample runs some of the operations of each edge, others in each step."""

    @abstractmethod
    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return initial α (E, O)."""

    @abstractmethod
    def weights(self, alpha: Tensor) -> Tensor:
        """Return the weights of the operations (E, O) for validation and discretisation."""

    def sample(self, cell: Cell, alpha: Tensor, generator: torch.Generator, step: Step) -> Sample:
        """Return the weights of the operations for a training step.

        Methods that sample override this; by default all operations run with `weights`.

        Args:
            cell: The cell.
            alpha: (E, O).
            generator: A generator on the CPU, in the same state on every process.
            step: The step that the sample is for.
        """
        return Sample(self.weights(alpha))

    def restricted(self, alpha: Tensor, kept: Tensor) -> Tensor:
        """Return α (E, O) under which `weights` and `sample` give removed operations no weight.

        By default α of removed operations is -inf: a softmax is then one over the others.

        Args:
            alpha: (E, O).
            kept: (E, O), False for removed operations; at least one of each edge is kept.
        """
        return alpha.masked_fill(~kept, -torch.inf)

    def remove_(self, alpha: Tensor, kept: Tensor) -> None:  # noqa: B027 (it changes few α)
        """Adapt α (E, O) in place after operations were removed; arguments as in `restricted`."""

    def project_(self, alpha: Tensor) -> None:  # noqa: B027 (most relaxations are unconstrained)
        """Project α (E, O) onto its domain, in place. Called after every change of α."""


class SoftmaxOps(OpRelaxation):
    """Softmax over the operations of an edge (DARTS, equation 2)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Draw α (E, O) from a normal distribution with standard deviation 1e-3."""
        shape = len(cell.edges), len(cell.primitives)
        return INITIAL_SCALE * torch.randn(shape, generator=generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """Return weights (E, O) whose rows sum to one."""
        return alpha.softmax(dim=-1)


class SimplexOps(OpRelaxation):
    """α is the weights themselves, a point on the simplex for every edge (GAEA)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return equal weights (E, O)."""
        shape = len(cell.edges), len(cell.primitives)
        return torch.full(shape, 1 / shape[1])

    def weights(self, alpha: Tensor) -> Tensor:
        """Return α (E, O)."""
        return alpha

    def restricted(self, alpha: Tensor, kept: Tensor) -> Tensor:
        """Return the weights of the kept operations (E, O), normalised; zero for the others."""
        weights = torch.where(kept, alpha, 0)
        return weights / weights.sum(dim=-1, keepdim=True)

    def remove_(self, alpha: Tensor, kept: Tensor) -> None:
        """Give the weight of removed operations to the others, in place."""
        alpha.copy_(onto_simplex(self.restricted(alpha, kept)))

    def project_(self, alpha: Tensor) -> None:
        """Clamp and normalise every row, in place."""
        alpha.copy_(onto_simplex(alpha))


class EdgeRelaxation(ABC):
    """Relaxation of edges: β of a cell (E,) → weights of its edges (E,)."""

    @abstractmethod
    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor | None:
        """Return initial β (E,), or `None` if the edges have no parameters."""

    @abstractmethod
    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return the weights of the edges (E,) on the device."""

    def pruned(self, cell: Cell) -> frozenset[int]:
        """Return the edges that are removed for good; their operations do not run."""
        return frozenset()

    def project_(self, beta: Tensor, cell: Cell) -> None:  # noqa: B027 (as above)
        """Project β (E,) onto its domain, in place. Called after every change of β."""


class EqualEdges(EdgeRelaxation):
    """Weight 1 for every edge: a node is the sum of its edges (DARTS)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> None:
        """Return `None`: there is no β."""
        return

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return ones (E,)."""
        return torch.ones(len(cell.edges), device=device)


class NodewiseSoftmax(EdgeRelaxation):
    """Softmax over the edges into a node (PC-DARTS, equation 4: edge normalisation)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Draw β (E,) from a normal distribution with standard deviation 1e-3."""
        return INITIAL_SCALE * torch.randn(len(cell.edges), generator=generator)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return weights (E,) that sum to one over the edges into each node."""
        assert beta is not None
        by_node = torch.split(beta, list(cell.fan_in))  # an index would be copied from the host
        return torch.cat([edges.softmax(dim=0) for edges in by_node])


class SimplexEdges(EdgeRelaxation):
    """β is the weights themselves, a point on the simplex for every node (GAEA)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return equal weights for the edges into each node (E,)."""
        return onto_simplex(torch.ones(len(cell.edges)), cell.fan_in)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return β (E,)."""
        assert beta is not None
        return beta

    def project_(self, beta: Tensor, cell: Cell) -> None:
        """Clamp and normalise the edges into each node, in place."""
        beta.copy_(onto_simplex(beta, cell.fan_in))
