"""The base class of search strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.hparams import describe

if TYPE_CHECKING:
    from nas_lightning.search.module import SearchModule
    from nas_lightning.search.plan import SearchPlan, Slot


@dataclass(frozen=True)
class ArchStep:
    """What an architecture step did, by parameter name (`alpha.normal`, …); read-only copies.

    Attributes:
        before: Values before the optimizer's step.
        after: Values behind it.
        gradients: The architecture gradient, averaged over all processes, without weight decay.
    """

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


class SearchStrategy(Callback):
    """A part of a search method, a Lightning callback that belongs to a `SearchModule`.

    It is listed in the module's `strategies`, never in `trainer.callbacks`: so it is a
    hyper-parameter, and a checkpoint rebuilds it. Structure is decided in `configure`, at
    construction. Every argument of a subclass's constructor is kept under its own name.
    """

    requires: ClassVar[tuple[Slot[Any], ...]] = ()
    """Slots that some strategy must fill."""

    leaves_parameters_unused: ClassVar[bool] = False
    """Some weights get no gradient in a weight step, which DDP must be told."""

    steps_alpha_and_beta: ClassVar[bool] = False
    """It needs α and β to be stepped together."""

    replayable: ClassVar[bool] = False
    """Its steps may be captured as CUDA graphs: what losses and gradients are computed from is
    changed in place or not at all, and never decided by Python from step to step."""

    @property
    def differentiates_twice(self) -> bool:
        """Whether it takes derivatives of derivatives of the supernet."""
        return False

    def configure(self, plan: SearchPlan) -> None:
        """Fill or wrap slots of the plan; called once, at construction of the module."""

    def allow_arch_step(self, module: SearchModule) -> bool:
        """Whether α and β may be stepped in this batch; all strategies must agree."""
        return True

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Act behind an architecture step, before projection."""

    def choose_genotype(self, module: SearchModule, genotype: Genotype) -> Genotype:
        """Replace the genotype that the search gives; `genotype` is what it would give else.

        What it is chosen from belongs into `state_dict`: it is asked of loaded checkpoints too.
        """
        return genotype

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the strategy is where it belongs.

        Raises:
            UsageError: It stands in `trainer.callbacks`, where nothing would come of it.
        """
        if self not in getattr(pl_module, "strategies", ()):
            name = type(self).__name__
            raise UsageError(
                f"{name} is a search strategy: list it under model.init_args.strategies of a "
                f"SearchModule, not under trainer.callbacks"
            )

    def __repr__(self) -> str:
        """Constructor call."""
        return describe(self)
