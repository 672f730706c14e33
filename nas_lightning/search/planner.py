"""What the plan of a search knows of its strategies."""

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

    def configure(self, plan: Any) -> None:
        """Fill or wrap slots of the plan."""

    def verify(self, plan: Any) -> None:
        """Check the complete plan."""
