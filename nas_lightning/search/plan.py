"""The plan of a search: the value of each slot and the strategy that decided it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from nas_lightning.architecture import SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.search.bilevel import first_order
from nas_lightning.search.discretize import strongest_edges
from nas_lightning.search.own_network import OwnNetwork
from nas_lightning.search.planner import LossWrapper, Penalty, Planner
from nas_lightning.search.shown_value import shown_value
from nas_lightning.search.slots import (
    ARCH_GRADIENT,
    ARCH_OPTIMIZER,
    ARCH_STEP,
    CELL_EXECUTION,
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    OP_SAMPLING,
    OUTER_BATCH,
    PARTIAL_CHANNELS,
    STEP_ORDER,
    WEIGHT_MIXING,
    Slot,
)
from nas_lightning.search.weight_mixing import unperturbed
from nas_lightning.supernet import (
    ArchitectureParameters,
    CellExecution,
    EqualEdges,
    OpRelaxation,
    SoftmaxOps,
    Supernet,
)
from nas_lightning.training.ending import Ending, Rate

T = TypeVar("T")


class SearchPlan:
    """The decisions of a search, slot by slot. Without strategies it is first-order DARTS.

    Args:
        space: The search space, for strategies that need its structure.
        strategies: The strategies, which configure the plan in this order.
        arch_optimizer: The architecture optimizer of the configuration, if it names one.
        data_spec: Sizes of the data, for strategies that need them.

    Raises:
        UsageError: Strategies conflict, or a strategy requires a slot that none of them fills.
    """

    def __init__(
        self,
        space: SearchSpace,
        strategies: Sequence[Planner],
        arch_optimizer: OptimizerCallable | None = None,
        data_spec: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = space
        self.data_spec = dict(data_spec or {})
        self.strategies = tuple(strategies)  # so that a strategy can refuse another one
        self._values: dict[Slot[Any], Any] = {
            OP_RELAXATION: SoftmaxOps(),
            EDGE_RELAXATION: EqualEdges(),
            PARTIAL_CHANNELS: 1,
            ARCH_GRADIENT: first_order,
            ARCH_OPTIMIZER: arch_optimizer or darts_arch_optimizer,
            DISCRETIZER: strongest_edges,
            OUTER_BATCH: "val",
            STEP_ORDER: "arch first",
            OP_SAMPLING: no_sampling,
            CELL_EXECUTION: CellExecution(),
            WEIGHT_MIXING: unperturbed,
            ARCH_STEP: None,
        }
        self._filled: dict[Slot[Any], Planner | str] = {}
        if arch_optimizer is not None:
            self._filled[ARCH_OPTIMIZER] = "the configuration"
        self._wrapped: dict[Slot[Any], list[tuple[Callable[[Any], Any], Planner]]] = {}
        self._penalties: list[tuple[Penalty, Planner]] = []
        self._losses: list[tuple[LossWrapper, Planner]] = []
        self._changes: list[tuple[Callable[[Supernet], Supernet], Planner]] = []
        self._checks: list[tuple[Callable[[Supernet], None], Planner]] = []
        self._kept: list[tuple[Mapping[str, Tensor], Planner]] = []
        self._networks: list[tuple[OwnNetwork, Planner]] = []
        self._ending: tuple[Ending, Planner] | None = None
        repeated = [kind.__name__ for kind, n in Counter(map(type, strategies)).items() if n > 1]
        if repeated:
            raise UsageError(f"conflicting strategies: {repeated[0]} is listed more than once")
        for strategy in strategies:
            strategy.configure(self)
        for strategy in strategies:
            for slot in strategy.requires:
                self._require(slot, strategy)
            strategy.verify(self)

    def __getitem__(self, slot: Slot[T]) -> T:
        """Return the value of a slot, with its wrappers applied in the order of the strategies."""
        value = self._values[slot]
        for wrapper, _ in self._wrapped.get(slot, []):
            value = wrapper(value)
        return cast(T, value)

    def fill(self, slot: Slot[T], value: T, by: Planner) -> None:
        """Set the value of a slot.

        Raises:
            UsageError: Another strategy has filled it already; the message names both.
        """
        if slot in self._filled:
            first = self._filled[slot]
            name = first if isinstance(first, str) else type(first).__name__
            raise UsageError(
                f"conflicting strategies: {name} and {type(by).__name__} both decide the "
                f"{slot.name}; keep one of them"
            )
        self._check_edges(slot, by)
        self._values[slot] = value
        self._filled[slot] = by

    def wrap(self, slot: Slot[T], wrapper: Callable[[T], T], by: Planner) -> None:
        """Apply `wrapper` to the final value of a slot."""
        self._check_edges(slot, by)
        self._wrapped.setdefault(slot, []).append((wrapper, by))

    def deciders(self, slot: Slot[Any]) -> list[Planner | str]:
        """Return the strategies that fill or wrap a slot; a text for the configuration."""
        first = [self._filled[slot]] if slot in self._filled else []
        return [*first, *(by for _, by in self._wrapped.get(slot, []))]

    def add_penalty(self, penalty: Penalty, by: Planner) -> None:
        """Add a term to the outer loss."""
        self._penalties.append((penalty, by))

    def wrap_loss(self, wrapper: LossWrapper, by: Planner) -> None:
        """Apply `wrapper` to the outer loss, before penalties are added."""
        self._losses.append((wrapper, by))

    def alter_supernet(self, change: Callable[[Supernet], Supernet], by: Planner) -> None:
        """Apply `change` to the supernet when it has been built."""
        self._changes.append((change, by))

    def check_supernet(self, check: Callable[[Supernet], None], by: Planner) -> None:
        """Call `check` with the altered supernet, which it may refuse by a `UsageError`."""
        self._checks.append((check, by))

    def altered(self, supernet: Supernet) -> Supernet:
        """Return a supernet with the changes of all strategies, after all of them checked it."""
        for change, _ in self._changes:
            supernet = change(supernet)
        for check, _ in self._checks:
            check(supernet)
        return supernet

    def keep_operations(self, masks: Mapping[str, Tensor] | None, by: Planner) -> None:
        """Let operations be removed.

        Args:
            masks: Masks (E, O) by cell kind, False for operations that do not run from the start;
                `None` if operations are removed later only, see `ArchitectureParameters.keep`.
            by: The strategy.
        """
        self._kept.append((masks or {}, by))

    @property
    def kept(self) -> dict[str, Tensor] | None:
        """Masks (E, O) of the operations that run from the start; `None` if none is removed."""
        if not self._kept:
            return None
        joined: dict[str, Tensor] = {}
        for masks, _ in self._kept:
            for kind, mask in masks.items():
                joined[kind] = joined.get(kind, mask) & mask
        return joined

    def add_network(self, network: OwnNetwork, by: Planner) -> None:
        """Add a network that the strategy trains beside the supernet."""
        self._networks.append((network, by))

    @property
    def networks(self) -> tuple[OwnNetwork, ...]:
        """The networks of the strategies, in order."""
        return tuple(network for network, _ in self._networks)

    def check_unwrapped(self, slot: Slot[Any], by: Planner) -> None:
        """Check that no strategy wraps a slot that another one makes void.

        Raises:
            UsageError: One does; the message names both.
        """
        for _, other in self._wrapped.get(slot, []):
            raise UsageError(
                f"conflicting strategies: {type(by).__name__} has its own {ARCH_STEP.name}, "
                f"{type(other).__name__} changes the {slot.name}; keep one of them"
            )

    def end_with(self, epochs: int, weight_rate: Rate, by: Planner) -> None:
        """Take the last epochs of the run, so that schedules and ramps end before them.

        Called from `verify`, since the number may depend on the other strategies.

        Args:
            epochs: Number of epochs.
            weight_rate: Learning rate of the weights in them, see `training.ending`.
            by: The strategy.

        Raises:
            UsageError: Another strategy has taken them already; the message names both.
        """
        name = type(by).__name__
        if self._ending is not None:
            raise UsageError(
                f"conflicting strategies: {type(self._ending[1]).__name__} and {name} both take "
                f"the last epochs of the run; keep one of them"
            )
        self._ending = Ending(epochs, weight_rate, name), by

    @property
    def ending(self) -> Ending | None:
        """The last epochs of the run, if a strategy has taken them."""
        return self._ending and self._ending[0]

    def outer_loss(self, loss: Tensor, arch: ArchitectureParameters) -> Tensor:
        """Return the outer loss (): the loss of the task, wrapped, plus the penalties."""
        for wrapper, _ in self._losses:
            loss = wrapper(loss, arch)
        return loss + self.penalty(arch)

    def penalty(self, arch: ArchitectureParameters) -> Tensor | float:
        """Return the sum of all penalties."""
        return sum((penalty(arch) for penalty, _ in self._penalties), start=0.0)

    def _check_edges(self, slot: Slot[Any], by: Planner) -> None:
        """Check that a strategy that weighs edges has several of them to weigh.

        Raises:
            UsageError: Every node of the space has a single edge.
        """
        if slot is EDGE_RELAXATION and self.space.single_edges:
            raise UsageError(
                f"{type(by).__name__} weighs the edges into a node, but each choice of "
                f"{self.space.name} is a single edge: remove it"
            )

    def _require(self, slot: Slot[Any], by: Planner) -> None:
        self._check_edges(slot, by)
        if slot not in self._filled:
            name = type(by).__name__
            raise UsageError(f"{name} needs a strategy that decides the {slot.name}: {slot.hint}")

    def describe(self) -> str:
        """Return one line for each slot: its name, its value and the strategy that decided it."""
        lines = []
        for slot in self._values:
            by = self._filled.get(slot, "default")
            shown = shown_value(self[slot])
            wrappers = "".join(f", wrapped by {w!r}" for _, w in self._wrapped.get(slot, []))
            lines.append(f"{slot.name:<24} {shown:<20} {by!s}{wrappers}")
        lines += [f"{'outer loss':<24} {'':<20} wrapped by {by!r}" for _, by in self._losses]
        lines += [f"{'penalty':<24} {'':<20} {by!r}" for _, by in self._penalties]
        lines += [f"{'supernet':<24} {'':<20} altered by {by!r}" for _, by in self._changes]
        lines += [f"{'operations':<24} {'':<20} removed by {by!r}" for _, by in self._kept]
        lines += [f"{'network':<24} {n.name:<20} {by!r}" for n, by in self._networks]
        if self._ending is not None:
            ending, by = self._ending
            lines.append(f"{'last epochs':<24} {ending.epochs!s:<20} taken by {by!r}")
        return "\n".join(lines)


def no_sampling(relaxation: OpRelaxation) -> OpRelaxation:
    """Return the relaxation unchanged: training steps mix with its weights."""
    return relaxation


def darts_weight_optimizer(params: Any) -> Optimizer:
    """Return the SGD of DARTS' search: rate 0.025, momentum 0.9, weight decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


def darts_arch_optimizer(params: Any) -> Optimizer:
    """Return the Adam of DARTS' search: rate 3e-4, betas (0.5, 0.999), weight decay 1e-3."""
    return Adam(params, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
