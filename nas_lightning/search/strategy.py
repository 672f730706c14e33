"""The base class of search strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype, NetworkFactory
from nas_lightning.errors import UsageError
from nas_lightning.hparams import describe
from nas_lightning.search.plan import SearchPlan
from nas_lightning.search.slots import Slot


@dataclass(frozen=True)
class ArchStep:
    """The effect of an architecture step, by parameter name (`alpha.normal`, …).

    All tensors are read-only copies.

    Attributes:
        before: Values before the optimizer's step.
        after: Values after the optimizer's step.
        gradients: The architecture gradient, averaged over all processes, without weight decay.
    """

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


class SearchStrategy(Callback):
    """A part of a search method: a Lightning callback that belongs to a `SearchModule`.

    List it in the module's `strategies`, never in `trainer.callbacks`. It is then a
    hyper-parameter, and a checkpoint rebuilds it. `configure` decides the structure of the search
    at construction. A subclass must keep every constructor argument under its own name.

    The argument `module` of the hooks is the `SearchModule`. Subclasses may annotate it so; this
    class cannot, because `SearchModule` imports it.
    """

    requires: ClassVar[tuple[Slot[Any], ...]] = ()
    """Slots that some strategy must fill."""

    logs: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the names under which the strategy logs."""

    leaves_parameters_unused: ClassVar[bool] = False
    """True if some weights get no gradient in a weight step, which DDP must be told."""

    steps_alpha_and_beta: ClassVar[bool] = False
    """True if α and β must be stepped together."""

    ends_early: ClassVar[bool] = False
    """True if the strategy may end the search before its last epoch."""

    removes_edges: ClassVar[bool] = False
    """True if the strategy chooses edges during the search and removes the others."""

    holds_alpha: ClassVar[str] = ""
    """Why α must not be moved within a step, such as `keeps α on a simplex`; empty if it may be."""

    differentiates_alpha_twice: ClassVar[bool] = False
    """True if the strategy needs more than one derivative of the outer loss by α."""

    replayable: ClassVar[bool] = False
    """True if the steps may be captured as CUDA graphs. Everything that losses and gradients are
    computed from is then constant or changed in place, and Python decides nothing from step to
    step."""

    @property
    def differentiates_twice(self) -> bool:
        """True if the strategy takes second derivatives of the supernet."""
        return False

    @property
    def alpha_from(self) -> int:
        """First epoch, counted from 0, in which the strategy lets α be stepped."""
        return 0

    def configure(self, plan: SearchPlan) -> None:
        """Fill or wrap slots of the plan. Called once, when the module is constructed."""

    def verify(self, plan: SearchPlan) -> None:
        """Check the complete plan, after all strategies have configured it.

        What depends on the other strategies is decided here, such as the epochs of a selection.
        """

    def allow_arch_step(self, module: Any) -> bool:
        """Return True if α and β may be stepped in this batch. All strategies must agree."""
        return True

    def allow_weight_step(self, module: Any) -> bool:
        """Return True if the weights may be stepped in this batch. All strategies must agree."""
        return True

    def on_after_arch_step(self, module: Any, step: ArchStep) -> None:
        """Called after each architecture step, before α and β are projected."""

    def on_weight_gradients(self, module: Any) -> None:
        """Called in each weight step when the weights have their gradients.

        They are averaged over processes, and not checked or clipped yet. The optimizer leaves a
        weight alone whose gradient is set to `None`.
        """

    def choose_genotype(self, module: Any, genotype: Genotype) -> Genotype:
        """Return the genotype of the search; by default the given one, read off α and β.

        Keep everything that the choice depends on in `state_dict`, because this hook is also
        called on loaded checkpoints.
        """
        return genotype

    def provenance(self, module: Any, genotype: Genotype) -> Mapping[str, Any]:
        """Return entries for the provenance of the genotype of the search; by default none.

        They are written to `genotype.json`, so they are plain data.
        """
        return {}

    @property
    def content(self) -> Mapping[str, Any]:
        """Content of files that arguments name, by argument; by default empty.

        Checkpoints record it in place of the path, so that they outlive the file.
        """
        return {}

    @property
    def budgeted(self) -> tuple[NetworkFactory, Mapping[str, Any]] | None:
        """The network whose cost the strategy limits, and the sizes of its data; default `None`."""
        return None

    def price(self, genotype: Genotype) -> float:
        """Return the cost of a genotype's network, of a strategy that limits it."""
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the strategy is listed in the module's `strategies`.

        Raises:
            UsageError: It is listed in `trainer.callbacks`, where it would have no effect.
        """
        if self not in getattr(pl_module, "strategies", ()):
            name = type(self).__name__
            raise UsageError(
                f"{name} is a search strategy: list it under model.init_args.strategies of a "
                f"SearchModule, not under trainer.callbacks"
            )

    def __repr__(self) -> str:
        """Return the constructor call."""
        return describe(self)


def record_contents(strategies: Sequence[SearchStrategy], recorded: Any) -> None:
    """Put the content of files into the hyper-parameters of a search.

    Args:
        strategies: The strategies.
        recorded: The hyper-parameter `strategies`, a list of class paths with arguments.
    """
    for strategy, entry in zip(strategies, recorded or (), strict=True):
        if strategy.content:
            entry["init_args"] = {**entry.get("init_args", {}), **strategy.content}


def load_states(strategies: Iterable[SearchStrategy], checkpoint: Mapping[str, Any]) -> None:
    """Load the states of strategies from a checkpoint that Lightning saved."""
    for strategy in strategies:
        if state := checkpoint.get("callbacks", {}).get(strategy.state_key):
            strategy.load_state_dict(state)
