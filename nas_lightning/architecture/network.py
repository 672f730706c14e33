"""What retrains: networks of a genotype, and the part of a configuration that builds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import nn

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.hparams import describe


class RetrainNetwork(nn.Module, ABC):
    """The network of a genotype."""

    @abstractmethod
    def forward(self, x: Any) -> tuple[Any, Any]:
        """The output, as the task wants it, and that of an auxiliary head or none."""


class NetworkFactory(ABC):
    """Which network to build from a genotype; the part of a retraining that is configured.

    Every argument of a subclass's constructor is kept under its own name.
    """

    @abstractmethod
    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> RetrainNetwork:
        """Build the network.

        Args:
            genotype: The cells.
            data_spec: Sizes of the data, from the data module.
            auxiliary: Add an auxiliary head.

        Raises:
            UsageError: These settings do not fit together.
        """

    def __repr__(self) -> str:
        """Constructor call."""
        return describe(self)
