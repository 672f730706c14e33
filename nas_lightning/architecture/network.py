"""Base classes of the network of a genotype and of its factory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.hparams import describe


class RetrainNetwork(nn.Module, ABC):
    """Base class of networks of a genotype."""

    @property
    def body(self) -> nn.Module:
        """The module whose names of weights an exported file has; a wrapper returns its content."""
        return self

    def drop_auxiliary(self) -> None:
        """Remove the auxiliary head, if there is one."""

    @abstractmethod
    def forward(self, x: Any) -> tuple[Any, Any]:
        """Return the output that the task expects, and that of an auxiliary head or `None`."""


class NetworkFactory(ABC):
    """Base class of factories that build the network of a genotype from a configuration.

    A subclass keeps every argument of its constructor under its own name.
    """

    channels_last: ClassVar[bool] = False
    """A training step on a CPU is faster with kernels and images in the channels-last format."""

    @abstractmethod
    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> RetrainNetwork:
        """Build the network.

        Args:
            genotype: Genotype with the cells.
            data_spec: Sizes of the data, from the data module.
            auxiliary: Add an auxiliary head.

        Raises:
            UsageError: The settings do not fit together.
        """

    def __repr__(self) -> str:
        """Return the constructor call."""
        return describe(self)
