"""The search: alternate architecture steps on α, β with weight steps on the supernet."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

from lightning import Callback
from lightning.pytorch.cli import OptimizerCallable
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.architecture import Genotype
from nas_lightning.errors import CheckpointMismatchError, DivergedError
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import NOT_NEGATIVE, check
from nas_lightning.search import slots
from nas_lightning.search.agreement import CellGradients
from nas_lightning.search.arch_step import arch_groups, arch_step
from nas_lightning.search.checks import check_run
from nas_lightning.search.discretize import derive
from nas_lightning.search.evaluation import VAL, SupernetStage
from nas_lightning.search.genotype_writer import GenotypeWriter
from nas_lightning.search.losses import Losses
from nas_lightning.search.own_network import OwnNetworks
from nas_lightning.search.passes import Graphs
from nas_lightning.search.plan import SearchPlan, darts_weight_optimizer
from nas_lightning.search.settings import shared_settings
from nas_lightning.search.step_context import StepContext, SupernetParts
from nas_lightning.search.strategy import ArchStep, SearchStrategy, load_states, record_contents
from nas_lightning.search.weight_step import weight_step
from nas_lightning.supernet import ArchitectureParameters, SupernetFactory
from nas_lightning.tasks import Classification, Task
from nas_lightning.training import schedules
from nas_lightning.training.comparison import changed_space, space_record
from nas_lightning.training.compatibility import KEEP
from nas_lightning.training.ending import with_ending
from nas_lightning.training.meaning import in_short
from nas_lightning.training.optimizers import check_optimizer
from nas_lightning.training.spec import DataSpec, checked_spec
from nas_lightning.training.trainer_checks import check_trainer

SPACE = "space"
"""Key of a checkpoint's arguments of the search space."""


class SearchModule(SupernetStage):
    """Search for an architecture.

    A batch is `{"train": …, "val": …}`: the inner loss is computed on the weight half, the outer
    loss on the architecture half. Each batch first steps α and β, if every strategy allows it,
    and then the weights, or in the reverse order. At the end of each epoch a `GenotypeWriter`
    writes `genotype.json`.

    Args:
        data_spec: Sizes of the data (`in_channels`, `num_classes`, `image_size`); the command
            line takes them from the data module.
        supernet: Factory of the supernet.
        task: Loss and metrics; classification by default.
        strategies: The parts of the method; first-order DARTS by default.
        weight_optimizer: Optimizer of the supernet's weights; DARTS' SGD by default.
        weight_schedule: Its schedule; by default cosine to 0.001.
        arch_optimizer: Optimizer of α and β; by default that of the strategies or DARTS' Adam.
        arch_schedule: Its schedule; constant by default.
        gradient_clip: Largest norm of the weights' gradient; `None` for no clipping.
        arch_gradient_clip: Largest norm of the architecture gradient; `None` for no clipping.
        auxiliary_weight: Weight of an auxiliary head's loss in the inner loss; 0 builds no head.
        drop_path: Probability of dropping a path at the end of the search; it grows linearly,
            `drop_path · epoch / epochs`.

    Attributes:
        graphs: Captures and replays the passes of the steps; `None` runs them directly.
        cell_gradients: Keeps the gradients of the next outer loss by each cell's weights, if a
            callback asks for them; `None` by default.

    Raises:
        UsageError: Strategies conflict or miss one another, or sizes do not fit.
    """

    kind = "search"
    names = ("weight", "arch", "val", "one_shot")
    train_streams = ("weight", "arch")
    prefixes = MappingProxyType({"weight": "search/train", "arch": "search/arch", "val": VAL})

    def __init__(
        self,
        data_spec: DataSpec,
        supernet: SupernetFactory,
        task: Task | None = None,
        strategies: list[SearchStrategy] | None = None,
        weight_optimizer: OptimizerCallable = darts_weight_optimizer,
        weight_schedule: schedules.Schedule | None = None,
        arch_optimizer: OptimizerCallable | None = None,
        arch_schedule: schedules.Schedule | None = None,
        gradient_clip: float | None = 5.0,
        arch_gradient_clip: float | None = None,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        data_spec = checked_spec(data_spec)
        super().__init__(data_spec, task or Classification(), drop_path)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.automatic_optimization = False
        self.gradient_clip = gradient_clip
        self.arch_gradient_clip = arch_gradient_clip
        self.auxiliary_weight = auxiliary_weight
        check(self, gradient_clip=NOT_NEGATIVE, arch_gradient_clip=NOT_NEGATIVE)
        check(self, auxiliary_weight=NOT_NEGATIVE)
        self.strategies = list(strategies or ())
        record_contents(self.strategies, self.hparams["strategies"])
        self.factory = supernet
        self.space = supernet.space_of(data_spec)
        self.plan = plan = SearchPlan(self.space, self.strategies, arch_optimizer, data_spec)
        k, execution = plan[slots.PARTIAL_CHANNELS], plan[slots.CELL_EXECUTION]
        built = supernet.build(data_spec, k, auxiliary_weight > 0, execution)
        self.supernet = plan.altered(built)
        self.parts = SupernetParts(self.supernet)
        ops = plan[slots.OP_SAMPLING](plan[slots.OP_RELAXATION])
        edges = plan[slots.EDGE_RELAXATION]
        self.arch = ArchitectureParameters(self.space, ops, edges, self.draw_seed, plan.kept)
        self.networks = OwnNetworks(plan.networks, self.supernet)
        self.ending_epochs = 0 if plan.ending is None else plan.ending.epochs
        # α's gradients are averaged by BilevelProblem.grad, so DDP leaves them alone
        own = *(f"arch.{name}" for name in self.arch.named()), *self.networks.apart
        self._ddp_params_and_buffers_to_ignore = list(own)
        self.weight_optimizer = weight_optimizer
        self.weight_schedule = weight_schedule or schedules.CosineSchedule(eta_min=0.001)
        self.arch_schedule = arch_schedule or schedules.ConstantSchedule()
        self.graphs: Graphs | None = None
        self.cell_gradients: CellGradients | None = None
        weights = list(self.supernet.parameters())
        check_optimizer("model.weight_optimizer", weight_optimizer, weights)
        groups = arch_groups(self.arch)
        check_optimizer("model.arch_optimizer", plan[slots.ARCH_OPTIMIZER], groups)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Take an architecture step, if every strategy allows it, and a weight step.

        The plan decides which of the two is first. The state that the task carries from one weight
        half to the next moves on after both, so that both start from the same one.
        """
        batch = self.halves(batch)
        self.seed_draws(batch_idx)
        # all processes draw the same architecture
        self.arch.generator.manual_seed(mix_seed(*self.draw_position(batch_idx)))
        weight, arch, *_ = cast("list[Optimizer]", self.optimizers())  # Lightning's wrappers
        try:
            # around both steps: some estimators look one weight step ahead
            with schedules.scaled_rate(weight, self.task.rate_scale(batch["train"])):
                due = all(strategy.allow_arch_step(self) for strategy in self.strategies)
                arch_first = self.plan[slots.STEP_ORDER] == "arch first"
                if due and arch_first:
                    self.arch_step(batch, weight, arch)
                rests = not all(strategy.allow_weight_step(self) for strategy in self.strategies)
                output = None if rests else self.weight_step(batch["train"], weight)
                if due and not arch_first:
                    self.arch_step(batch, weight, arch)
            if not rests:
                self.streams.carry("weight", output)
        except DivergedError as error:
            self.give_way(error)

    def arch_step(self, batch: Mapping[str, Any], weight: Optimizer, arch: Optimizer) -> None:
        """Step α and β on both halves of a batch."""
        parts = self._context(), batch, weight, arch, self.arch_gradient_clip, self._after
        (self.plan[slots.ARCH_STEP] or arch_step)(*parts)

    def weight_step(self, half: Any, weight: Optimizer) -> Any:
        """Step the weights on the weight half of a batch and return the output for it."""
        parts = self.manual_backward, self._after_backward
        return weight_step(self._context(), half, weight, self.gradient_clip, *parts)

    @property
    def losses(self) -> Losses:
        """The inner and the outer loss."""
        parts = self.supernet, self.arch, self.task, self.streams, self.plan
        return Losses(*parts, self.auxiliary_weight, self.cell_gradients)

    def _context(self) -> StepContext:
        report = functools.partial(self.streams.report, self)
        parts = self.losses, self.parts, self.device, self.graphs, self.check_step, report
        own = cast("list[Optimizer]", self.optimizers())[2:]
        named = zip(self.networks, own, strict=True)
        return StepContext(*parts, dict(self.networks.items()), dict(named))

    def _after(self, step: ArchStep) -> None:
        for strategy in self.strategies:
            strategy.on_after_arch_step(self, step)

    def _after_backward(self) -> None:
        for strategy in self.strategies:
            strategy.on_weight_gradients(self)

    def genotype(self, **provenance: Any) -> Genotype:
        """Return the genotype of the present α and β, or the one that a strategy chooses.

        Args:
            **provenance: More entries of its provenance.
        """
        origin = {
            "epoch": self.current_epoch,
            "strategies": [repr(strategy) for strategy in self.strategies],
            "settings": self.settings(self._data),
            "data": in_short(self.meaning()),
            **provenance,
        }
        found = derive(self.arch, self.plan[slots.DISCRETIZER], origin)
        for strategy in self.strategies:
            found = strategy.choose_genotype(self, found)
        for strategy in self.strategies:
            found = found.with_provenance(strategy.provenance(self, found))
        return found

    def settings(self, data: object) -> dict[str, Any]:
        """Return the settings that a retraining can share with this search, by name."""
        return shared_settings(self, self.factory, self.weight_optimizer, data)

    # -- Lightning -----------------------------------------------------------------------------

    def configure_callbacks(self) -> Sequence[Callback]:
        """Check the trainer, before anything is written, and return the callbacks of a search.

        These are the strategies and the writer of `genotype.json`.
        """
        if self._trainer is not None and self.trainer.state.fn == "fit":
            check_trainer(self.trainer, self, search=True)
            if self.plan.ending is not None:
                self.plan.ending.check(self.trainer)
        return [*self.strategies, GenotypeWriter(self.genotype)]

    @property
    def components(self) -> dict[str, Any]:
        """Supernet factory, task and strategies."""
        return {"supernet": self.factory, "task": self.task, "strategies": self.strategies}

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Return new optimizers of the weights, of α and β, and of the strategies' networks."""
        weights = [*self.supernet.parameters(), *self.networks.also_in_weights()]
        return {
            "weight_optimizer": self.weight_optimizer(weights),
            "arch_optimizer": self.plan[slots.ARCH_OPTIMIZER](arch_groups(self.arch)),
            **self.networks.optimizers(),
        }

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Return the optimizers with their schedules."""
        rates = self.weight_schedule, self.arch_schedule, *(n.schedule for n in self.plan.networks)
        planned = with_ending(self.plan.ending, rates)
        pairs = zip(self.build_optimizers().values(), planned, strict=True)
        return schedules.scheduled(self.trainer, *pairs)

    def on_fit_start(self) -> None:
        """Check the settings of the run and give all processes what DDP leaves alone.

        It is the architecture and the strategies' networks of the first process.

        Raises:
            UsageError: The trainer's settings or the data do not fit a search.
        """
        check_run(self.trainer, self.strategies)
        super().on_fit_start()
        for value in (*self.arch.parameters(), *self.networks.parameters()):
            value.data.copy_(self.trainer.strategy.broadcast(value.data))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also save the arguments of the space: equal tensors can stand for other operations."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[SPACE] = space_record(self.space)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also check the space, and load the states of the strategies.

        Lightning loads these only in a trainer.

        Raises:
            CheckpointMismatchError: The space has other arguments.
        """
        supernet = checkpoint.get("hyper_parameters", {}).get("supernet", {})
        earlier = supernet.get("init_args") if isinstance(supernet, Mapping) else None
        found = changed_space(checkpoint.get(SPACE, earlier), self.space)
        if not (found and self.space.of_choices):  # the name of a choice says more than a tensor's
            super().on_load_checkpoint(checkpoint)
        if found:
            raise CheckpointMismatchError(f"the search space differs: {found}; {KEEP}")
        load_states(self.strategies, checkpoint)

    def go_back(self, checkpoint: dict[str, Any]) -> None:
        """Also restore the strategies, which then enter the present epoch."""
        super().go_back(checkpoint)
        load_states(self.strategies, checkpoint)
        for strategy in self.strategies:
            strategy.on_train_start(self.trainer, self)

    def on_train_epoch_end(self) -> None:
        """Step the schedules, which Lightning does not under manual optimization."""
        schedules.step(cast("list[LRScheduler]", self.lr_schedulers()))
