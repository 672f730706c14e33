"""The slots of a search plan: the places that a strategy can fill or wrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from lightning.pytorch.cli import OptimizerCallable

from nas_lightning.search.bilevel import ArchGradient
from nas_lightning.search.discretize import Discretizer
from nas_lightning.search.weight_mixing import WeightMixing
from nas_lightning.supernet import CellExecution, EdgeRelaxation, OpRelaxation

T = TypeVar("T")


@dataclass(frozen=True)
class Slot(Generic[T]):
    """A place in the plan that at most one strategy fills.

    Slots are compared by value, so the slot of a copied module is still the same slot.

    Attributes:
        name: Name in messages to users.
        hint: Advice for the message that is raised when a required slot is empty.
    """

    name: str
    hint: str


OP_RELAXATION: Slot[OpRelaxation] = Slot("operation relaxation", "")
EDGE_RELAXATION: Slot[EdgeRelaxation] = Slot(
    "edge relaxation", "add EdgeNormalization to the strategies"
)
PARTIAL_CHANNELS: Slot[int] = Slot("partial channels K", "add PartialChannels to the strategies")
ARCH_GRADIENT: Slot[ArchGradient] = Slot("architecture gradient", "")
ARCH_OPTIMIZER: Slot[OptimizerCallable] = Slot("architecture optimizer", "")
DISCRETIZER: Slot[Discretizer] = Slot("discretizer", "")
OUTER_BATCH: Slot[Literal["train", "val"]] = Slot("outer batch", "")
STEP_ORDER: Slot[Literal["arch first", "weights first"]] = Slot("step order", "")
CELL_EXECUTION: Slot[CellExecution] = Slot("cell execution", "")
OP_SAMPLING: Slot[Callable[[OpRelaxation], OpRelaxation]] = Slot("operation sampling", "")
WEIGHT_MIXING: Slot[WeightMixing] = Slot("mixing in weight steps", "")
ARCH_STEP: Slot[Callable[..., Any] | None] = Slot("architecture step", "")
