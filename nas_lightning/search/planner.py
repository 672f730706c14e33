"""The part of a strategy that the plan of a search uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from nas_lightning.search.slots import Slot
from nas_lightning.supernet import ArchitectureParameters

Penalty = Callable[[ArchitectureParameters], Tensor]
"""Architecture parameters → term () that is added to the outer loss."""
LossWrapper = Callable[[Tensor, ArchitectureParameters], Tensor]
"""Outer loss () and architecture parameters → another outer loss ()."""


class Planner(Protocol):
    """The part of a `SearchStrategy` that the plan uses; `plan` is the `SearchPlan`."""

    @property
    def requires(self) -> tuple[Slot[Any], ...]:
        """Slots that some strategy must fill."""

    @property
    def steps_alpha_and_beta(self) -> bool:
        """True if α and β must be stepped together."""

    @property
    def ends_early(self) -> bool:
        """True if the strategy may end the search before its last epoch."""

    @property
    def removes_edges(self) -> bool:
        """True if the strategy chooses edges during the search and removes the others."""

    @property
    def holds_alpha(self) -> str:
        """Why α must not be moved within a step; empty if it may be."""

    @property
    def differentiates_alpha_twice(self) -> bool:
        """True if the strategy needs more than one derivative of the outer loss by α."""

    def configure(self, plan: Any) -> None:
        """Fill or wrap slots of the plan."""

    def verify(self, plan: Any) -> None:
        """Check the complete plan."""
