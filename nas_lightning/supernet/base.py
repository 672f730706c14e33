"""Base classes of supernets and of their factories."""

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
    """Base class of supernets. A supernet holds the weights of all candidates, but no α or β."""

    @abstractmethod
    def forward(self, x: Any, mixing: Mixing) -> Any:
        """Return the output that the task expects, for inputs x under the mixing weights."""

    def with_auxiliary(self, x: Any, mixing: Mixing) -> tuple[Any, Any]:
        """Return the output, and that of an auxiliary head or `None`."""
        return self(x, mixing), None

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """Number of cells by kind, for `Mixing.own`; by default no kind has several."""
        return {}


class SupernetFactory(ABC):
    """Base class of factories that build a supernet from a configuration.

    A subclass keeps every argument of its constructor under its own name.

    Attributes:
        replayable: True if a pass of the supernet may be captured as a CUDA graph. The pass must
            draw random numbers with PyTorch only, must not branch on values of tensors, and must
            change nothing but buffers, in place.
    """

    replayable: ClassVar[bool] = False

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """The search space of the supernet."""

    def space_of(self, data_spec: Mapping[str, Any]) -> SearchSpace:
        """Return the search space for data of these sizes; the same for all data by default.

        Args:
            data_spec: Sizes of the data, from the data module.
        """
        return self.space

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
            execution: Computation of the cells; fast by default.

        Raises:
            UsageError: The settings do not fit together.
        """

    def __repr__(self) -> str:
        """Return the constructor call."""
        return describe(self)


def check_one_execution(execution: CellExecution | None, what: str) -> None:
    """Check that no execution is configured for a supernet that has only one.

    Args:
        execution: The configured execution.
        what: Name of the supernet's kind, for the message.

    Raises:
        UsageError: Another execution is configured.
    """
    if execution in (None, CellExecution()):
        return
    strategies = ["CheckpointCells"] if execution.checkpoint else []
    if execution.cell is not CellExecution().cell:
        strategies.insert(0, "ReferenceCell")
    remove = " and ".join(strategies) or str(execution)
    raise UsageError(f"{what} is computed in one way only: remove {remove}")
