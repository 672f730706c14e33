"""The plan of a search: slots that strategies fill or wrap at construction."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from nas_lightning.architecture import SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.hparams import target
from nas_lightning.search.bilevel import ArchGradient, first_order
from nas_lightning.search.discretize import Discretizer, strongest_edges
from nas_lightning.supernet import (
    ArchitectureParameters,
    CellExecution,
    EdgeRelaxation,
    EqualEdges,
    OpRelaxation,
    SoftmaxOps,
)

if TYPE_CHECKING:
    from nas_lightning.search.strategy import SearchStrategy

T = TypeVar("T")

Penalty = Callable[[ArchitectureParameters], Tensor]
"""Architecture parameters → term () that is added to the outer loss."""


@dataclass(frozen=True)
class Slot(Generic[T]):
    """A place in the plan that at most one strategy fills; of a copied module it is the same.

    Attributes:
        name: What users read in messages.
        hint: Who can fill it, for the message when nobody did.
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
CELL_EXECUTION: Slot[CellExecution] = Slot("cell execution", "")
OP_SAMPLING: Slot[Callable[[OpRelaxation], OpRelaxation]] = Slot("operation sampling", "")


class SearchPlan:
    """Who decides what in a search. Without strategies it is first-order DARTS.

    Args:
        space: The search space, for strategies that need its structure.
        strategies: Configure the plan, in this order.
        arch_optimizer: The architecture optimizer of the configuration, if it names one.

    Raises:
        UsageError: Strategies conflict, or one misses another.
    """

    def __init__(
        self,
        space: SearchSpace,
        strategies: Sequence[SearchStrategy],
        arch_optimizer: OptimizerCallable | None = None,
    ) -> None:
        self.space = space
        self.strategies = tuple(strategies)  # for those that do not go together
        self._values: dict[Slot[Any], Any] = {
            OP_RELAXATION: SoftmaxOps(),
            EDGE_RELAXATION: EqualEdges(),
            PARTIAL_CHANNELS: 1,
            ARCH_GRADIENT: first_order,
            ARCH_OPTIMIZER: arch_optimizer or darts_arch_optimizer,
            DISCRETIZER: strongest_edges,
            OUTER_BATCH: "val",
            OP_SAMPLING: no_sampling,
            CELL_EXECUTION: CellExecution(),
        }
        self._filled: dict[Slot[Any], SearchStrategy | str] = {}
        if arch_optimizer is not None:
            self._filled[ARCH_OPTIMIZER] = "the configuration"
        self._wrapped: dict[Slot[Any], list[tuple[Callable[[Any], Any], SearchStrategy]]] = {}
        self._penalties: list[tuple[Penalty, SearchStrategy]] = []
        repeated = [kind.__name__ for kind, n in Counter(map(type, strategies)).items() if n > 1]
        if repeated:
            raise UsageError(f"conflicting strategies: {repeated[0]} is listed more than once")
        for strategy in strategies:
            strategy.configure(self)
        for strategy in strategies:
            for slot in strategy.requires:
                self._require(slot, strategy)

    def __getitem__(self, slot: Slot[T]) -> T:
        """What the slot holds, with its wrappers applied in the order of the strategies."""
        value = self._values[slot]
        for wrapper, _ in self._wrapped.get(slot, []):
            value = wrapper(value)
        return cast(T, value)

    def fill(self, slot: Slot[T], value: T, by: SearchStrategy) -> None:
        """Decide a slot.

        Raises:
            UsageError: Another strategy decided it already; names both.
        """
        if slot in self._filled:
            first = self._filled[slot]
            name = first if isinstance(first, str) else type(first).__name__
            raise UsageError(
                f"conflicting strategies: {name} and {type(by).__name__} both decide the "
                f"{slot.name}; keep one of them"
            )
        self._values[slot] = value
        self._filled[slot] = by

    def wrap(self, slot: Slot[T], wrapper: Callable[[T], T], by: SearchStrategy) -> None:
        """Put `wrapper` around whatever the slot holds in the end."""
        self._wrapped.setdefault(slot, []).append((wrapper, by))

    def add_penalty(self, penalty: Penalty, by: SearchStrategy) -> None:
        """Add a term to the outer loss."""
        self._penalties.append((penalty, by))

    def penalty(self, arch: ArchitectureParameters) -> Tensor | float:
        """Sum of all penalties."""
        return sum((penalty(arch) for penalty, _ in self._penalties), start=0.0)

    def _require(self, slot: Slot[Any], by: SearchStrategy) -> None:
        if slot not in self._filled:
            name = type(by).__name__
            raise UsageError(f"{name} needs a strategy that decides the {slot.name}: {slot.hint}")

    def describe(self) -> str:
        """Slot by slot who decided it, one line each."""
        lines = []
        for slot in self._values:
            by = self._filled.get(slot, "default")
            shown = _short(self[slot])
            wrappers = "".join(f", wrapped by {w!r}" for _, w in self._wrapped.get(slot, []))
            lines.append(f"{slot.name:<24} {shown:<20} {by!s}{wrappers}")
        lines += [f"{'penalty':<24} {'':<20} {by!r}" for _, by in self._penalties]
        return "\n".join(lines)


def no_sampling(relaxation: OpRelaxation) -> OpRelaxation:
    """The relaxation as it is: a training step mixes with the weights themselves."""
    return relaxation


def darts_weight_optimizer(params: Any) -> Optimizer:
    """SGD of DARTS' search: rate 0.025, momentum 0.9, weight decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


def darts_arch_optimizer(params: Any) -> Optimizer:
    """Adam of DARTS' search: rate 3e-4, betas (0.5, 0.999), weight decay 1e-3."""
    return Adam(params, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)


def _short(value: object) -> str:
    """Name of a function or class, text of a number, name of an object's class."""
    if isinstance(value, functools.partial):
        value = target(value)
    if isinstance(value, int | str | CellExecution):
        return str(value)
    return str(getattr(value, "__name__", type(value).__name__))
