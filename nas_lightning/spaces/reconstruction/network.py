"""The unrolled reconstruction of a genotype, for training from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError
from nas_lightning.ranges import WIDTH, check
from nas_lightning.spaces.reconstruction.operations import OPERATIONS, Sizes
from nas_lightning.spaces.reconstruction.space import ReconstructionSpace
from nas_lightning.spaces.reconstruction.states import Measurement, Problem, problem_of


class DiscreteReconstruction(RetrainNetwork):
    """A reconstruction that starts at u_0 = A'y and applies the operations of a genotype.

    Args:
        genotype: The cell. A state with several operations is their mean; a state without
            operations is zero.
        problem: The inverse problem.
        sizes: Sizes of the operations.
    """

    def __init__(self, genotype: CellGenotype, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        self.genotype = genotype
        self.operator = problem.operator
        self.nodes = nn.ModuleList(
            nn.ModuleList(OPERATIONS[kept.primitive](problem, sizes) for kept in node)
            for node in genotype.nodes
        )

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return reconstructions (B, C, *n) of measurements x (B, C, *m), and `None`."""
        states = [Measurement(self.operator, x).start()]
        for node, kept in zip(self.nodes, self.genotype.nodes, strict=True):
            assert isinstance(node, nn.ModuleList)
            found = [op(states[edge.source]) for op, edge in zip(node, kept, strict=True)]
            mean = torch.stack(found or [torch.zeros_like(states[0].u)]).mean(dim=0)
            states.append(states[0].then(mean))
        return states[self.genotype.concat[0]].u, None


@final
class ReconstructionNetwork(NetworkFactory):
    """Factory of the unrolled reconstruction of a genotype.

    Args:
        filters: Number of filters F of a regulariser.
        channels: Number of channels H inside `residual_cnn`.

    Raises:
        UsageError: A size is not positive.
    """

    def __init__(self, filters: int = 8, channels: int = 16) -> None:
        self.filters = filters
        self.channels = channels
        check(self, filters=WIDTH, channels=WIDTH)
        self._sizes = Sizes(filters, channels)

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> DiscreteReconstruction:
        """Build the network; needs `operator`, `in_channels` and `dims`.

        Raises:
            UsageError: The genotype belongs to another space, an auxiliary head is requested, or
                the data is not of an inverse problem.
        """
        if not isinstance(genotype.space, ReconstructionSpace):
            raise UsageError(
                f"ReconstructionNetwork needs a genotype of reconstruction, found a genotype of "
                f"{genotype.space.name}"
            )
        if auxiliary:
            raise UsageError("a reconstruction has no auxiliary head: set auxiliary_weight to 0")
        (cell,) = genotype.cells.values()
        return DiscreteReconstruction(cell, problem_of(data_spec), self._sizes)
