"""The search: alternate architecture steps on α, β with weight steps on the supernet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
from lightning import Callback
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning import __version__
from nas_lightning.architecture import Genotype
from nas_lightning.errors import DivergedError
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.randomness import mix_seed
from nas_lightning.search.checks import check_run
from nas_lightning.search.discretize import one_hot
from nas_lightning.search.passes import Graphs
from nas_lightning.search.plan import (
    ARCH_OPTIMIZER,
    CELL_EXECUTION,
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    OP_SAMPLING,
    PARTIAL_CHANNELS,
    SearchPlan,
    darts_weight_optimizer,
)
from nas_lightning.search.settings import shared_settings
from nas_lightning.search.steps import arch_step, weight_step
from nas_lightning.search.strategy import SearchStrategy
from nas_lightning.supernet import ArchitectureParameters, Mixing, SupernetFactory
from nas_lightning.tasks import Classification, Task
from nas_lightning.training.optimizers import fuse
from nas_lightning.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    Schedule,
    planned_epochs,
    scaled_rate,
)
from nas_lightning.training.stage import DataSpec, Stage


class SearchModule(Stage):
    """Search for an architecture.

    A batch is `{"train": …, "val": …}`: the weight half drives the inner loss, the architecture
    half the outer one. In each batch first α, β are stepped, if every strategy allows it, then
    the weights.

    Args:
        data_spec: Sizes of the data (`in_channels`, `num_classes`, `image_size`); the command
            line takes them from the data module.
        supernet: Which supernet.
        task: Loss and metrics; classification by default.
        strategies: What makes the method; none is first-order DARTS.
        weight_optimizer: Optimizer of the supernet's weights; DARTS' SGD by default.
        weight_schedule: Its schedule; by default cosine to 0.001.
        arch_optimizer: Optimizer of α and β; by default that of the strategies or DARTS' Adam.
        arch_schedule: Its schedule; constant by default.
        gradient_clip: Largest norm of the weights' gradient; none for no clipping.
        arch_gradient_clip: Largest norm of the architecture gradient; none for no clipping.
        auxiliary_weight: Weight of an auxiliary head's loss in the inner loss; 0 builds no head.
        drop_path: Probability of dropping a path at the end of the search; it grows linearly,
            `drop_path · epoch / epochs`.

    Raises:
        UsageError: Strategies conflict or miss one another, or sizes do not fit.
    """

    kind = "search"
    names = ("weight", "arch", "val", "one_shot")
    train_streams = ("weight", "arch")

    def __init__(
        self,
        data_spec: DataSpec,
        supernet: SupernetFactory,
        task: Task | None = None,
        strategies: list[SearchStrategy] | None = None,
        weight_optimizer: OptimizerCallable = darts_weight_optimizer,
        weight_schedule: Schedule | None = None,
        arch_optimizer: OptimizerCallable | None = None,
        arch_schedule: Schedule | None = None,
        gradient_clip: float | None = 5.0,
        arch_gradient_clip: float | None = None,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(data_spec, task or Classification(), drop_path)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.automatic_optimization = False
        self.strategies = list(strategies or ())
        self.factory = supernet
        self.space = supernet.space
        self.plan = SearchPlan(self.space, self.strategies, arch_optimizer)
        k = self.plan[PARTIAL_CHANNELS]
        self.supernet = supernet.build(
            data_spec, k, auxiliary_weight > 0, self.plan[CELL_EXECUTION]
        )
        ops = self.plan[OP_SAMPLING](self.plan[OP_RELAXATION])
        edges = self.plan[EDGE_RELAXATION]
        self.arch = ArchitectureParameters(self.space, ops, edges, seed=self.draw_seed)
        # α's gradients are averaged by BilevelProblem.grad, so DDP leaves them alone
        self._ddp_params_and_buffers_to_ignore = [f"arch.{name}" for name in self.arch.named()]
        self.weight_optimizer = weight_optimizer
        self.weight_schedule = weight_schedule or CosineSchedule(eta_min=0.001)
        self.arch_schedule = arch_schedule or ConstantSchedule()
        self.gradient_clip = gradient_clip
        self.arch_gradient_clip = arch_gradient_clip
        self.auxiliary_weight = auxiliary_weight
        self.candidate: Genotype | None = None
        """The cells whose one-shot performance is tested; none for those that were found."""
        self._one_shot: Mixing | None = None
        self.graphs: Graphs | None = None
        """What captures the passes of the steps; none if they run by themselves."""

    @property
    def space_name(self) -> str:
        """Name of the search space."""
        return self.space.name

    @property
    def trained(self) -> nn.Module:
        """The supernet."""
        return self.supernet

    # -- the two steps -------------------------------------------------------------------------

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """An architecture step, if every strategy allows it, and a weight step."""
        self.seed_draws(batch_idx)
        # what is drawn of the architecture is one for all processes
        self.arch.generator.manual_seed(mix_seed(*self.draw_position(batch_idx)))
        weight, arch = cast("list[Optimizer]", self.optimizers())  # Lightning's wrappers
        try:
            # of both steps: some estimators look one weight step ahead
            with scaled_rate(weight, self.task.rate_scale(batch["train"])):
                if all(strategy.allow_arch_step(self) for strategy in self.strategies):
                    arch_step(self, batch, weight, arch)
                weight_step(self, batch["train"], weight)
        except DivergedError as error:
            self.give_way(error)

    def training_loss(self, batch: Any, arch_fixed: bool = False) -> tuple[Any, Tensor, Tensor]:
        """Output, inner loss () with the auxiliary head's share, and the task's own loss ()."""
        mixing = self.arch.sample()
        output, auxiliary = self.supernet.with_auxiliary(
            self.streams.inputs("weight", batch), mixing.detach() if arch_fixed else mixing
        )
        loss = self.task.loss(output, batch)
        total = loss + self.task.regularization(output)
        if auxiliary is not None:
            total = total + self.auxiliary_weight * self.task.loss(auxiliary, batch)
        return output, total, loss

    # -- evaluation ----------------------------------------------------------------------------

    def forward(self, x: Any) -> Any:
        """The supernet's output under the present mixing weights."""
        return self.supernet(x, self.arch())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the supernet, `search/val_…`."""
        self._evaluate("val", "search/val", batch, self.arch())

    def on_test_start(self) -> None:
        """Take the cells whose one-shot performance is tested: the candidate, or what was found."""
        self.streams.restart("one_shot")
        self._one_shot = one_hot(self.space, self.candidate or self.genotype(), self.device)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the discrete cells with the supernet's weights, `one_shot/test_…`."""
        assert self._one_shot is not None
        self._evaluate("one_shot", "one_shot/test", batch, self._one_shot)

    def _evaluate(self, stream: str, name: str, batch: Any, mixing: Mixing) -> None:
        output = self.supernet(self.streams.inputs(stream, batch), mixing)
        self.streams.report(self, stream, name, batch, output, self.task.loss(output, batch))
        self.streams.carry(stream, output)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """The supernet's output (B, …)."""
        return self(self.task.inputs(batch))

    def genotype(self, **provenance: Any) -> Genotype:
        """The genotype that the parameters stand for now, unless a strategy chose another.

        Args:
            **provenance: More to say of where it comes from.
        """
        with torch.no_grad():
            mixing = self.arch()
        cells = self.plan[DISCRETIZER](self.space, mixing).cells
        origin = {
            "version": __version__,
            "epoch": self.current_epoch,
            "strategies": [repr(strategy) for strategy in self.strategies],
            "settings": self.settings(getattr(self._trainer, "datamodule", None)),
            **provenance,
        }
        found = Genotype(self.space, cells, origin, mixing.to_dict())
        for strategy in self.strategies:
            found = strategy.choose_genotype(self, found)
        return found

    def settings(self, data: object) -> dict[str, Any]:
        """What a retraining can have in common with this search, by name."""
        return shared_settings(self, self.factory, self.weight_optimizer, data)

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """Weights of the supernet by name, gathered once: that takes milliseconds."""
        return dict(self.supernet.named_parameters())

    @cached_property
    def buffered(self) -> list[nn.Module]:
        """Modules of the supernet that have buffers, gathered once for the same reason."""
        return [m for m in self.supernet.modules() if any(True for _ in m.buffers(recurse=False))]

    # -- Lightning -----------------------------------------------------------------------------

    def configure_callbacks(self) -> Sequence[Callback]:
        """The strategies."""
        return self.strategies

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """The weight optimizer and the architecture optimizer, over disjoint parameters."""
        weight = fuse(self.weight_optimizer(self.supernet.parameters()))
        # ordered and named groups: a resumed state can only land on its own parameters
        groups = [
            {"params": list(parameters.values()), "name": name}
            for name, parameters in (("alpha", self.arch.alpha), ("beta", self.arch.beta))
            if len(parameters)
        ]
        arch = fuse(self.plan[ARCH_OPTIMIZER](groups))
        epochs = planned_epochs(self.trainer)
        pairs = ((self.weight_schedule, weight), (self.arch_schedule, arch))
        return [weight, arch], [schedule.build(optimizer, epochs) for schedule, optimizer in pairs]

    def on_fit_start(self) -> None:
        """Check the run's settings and start from one architecture on all processes.

        Raises:
            UsageError: The trainer's settings or the data do not fit a search.
        """
        check_run(self.trainer, self.strategies)
        super().on_fit_start()
        for value in self.arch.parameters():
            value.data.copy_(self.trainer.strategy.broadcast(value.data))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also hand the strategies their states: without a trainer nobody else does."""
        super().on_load_checkpoint(checkpoint)
        self._hand_out(checkpoint)

    def go_back(self, checkpoint: dict[str, Any]) -> None:
        """Also take back the strategies, which then enter the present epoch."""
        super().go_back(checkpoint)
        self._hand_out(checkpoint)
        for strategy in self.strategies:
            strategy.on_train_start(self.trainer, self)

    def _hand_out(self, checkpoint: dict[str, Any]) -> None:
        for strategy in self.strategies:
            if state := checkpoint.get("callbacks", {}).get(strategy.state_key):
                strategy.load_state_dict(state)

    def on_train_epoch_end(self) -> None:
        """Step the schedules; manual optimisation leaves that to us."""
        with warnings.catch_warnings():
            # in a warm-up the architecture optimizer has not stepped yet, and rightly so
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.* before .*optimizer.step.*")
            for scheduler in cast("list[LRScheduler]", self.lr_schedulers()):
                scheduler.step()
