"""Base classes of supernets, and of what builds them from a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.hparams import describe
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Mixing


class Supernet(nn.Module, ABC):
    """The weights of every candidate. It owns no α: mixing weights are an argument."""

    @abstractmethod
    def forward(self, x: Any, mixing: Mixing) -> Any:
        """The network's output for inputs x under the mixing weights, as the task wants it."""

    def with_auxiliary(self, x: Any, mixing: Mixing) -> tuple[Any, Any]:
        """The output and that of an auxiliary head, none without one."""
        return self(x, mixing), None


class SupernetFactory(ABC):
    """Which supernet to build; the part of a search that the configuration names.

    Every argument of a subclass's constructor is kept under its own name.

    Attributes:
        replayable: A pass of the supernet may be captured as a CUDA graph: it draws nothing
            outside of PyTorch, decides nothing by values, and changes only buffers, in place.
    """

    replayable: ClassVar[bool] = False

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """The search space that it covers."""

    @abstractmethod
    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> Supernet:
        """Build the supernet.

        Args:
            data_spec: Sizes of the data, from the data module.
            k: K of partial channels; 1 mixes all channels.
            auxiliary: Add an auxiliary head.
            execution: How its cells are computed; fast by default.

        Raises:
            UsageError: These settings do not fit together.
        """

    def __repr__(self) -> str:
        """Constructor call."""
        return describe(self)


def check_one_execution(execution: CellExecution | None, what: str) -> None:
    """Check that a supernet without cells of convolutions is computed as it always is.

    Raises:
        UsageError: Something else is asked for.
    """
    if execution not in (None, CellExecution()):
        raise UsageError(f"{what} is computed in one way only: leave out {execution}")
