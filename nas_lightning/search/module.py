"""The search: alternate architecture steps on α, β with weight steps on the supernet."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from nas_lightning import __version__, checkpoints
from nas_lightning.errors import UsageError
from nas_lightning.genotype import Genotype
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.randomness import ReplayedDraws
from nas_lightning.schedules import ConstantSchedule, CosineSchedule, Schedule, planned_epochs
from nas_lightning.search.bilevel import BilevelProblem
from nas_lightning.search.discretize import one_hot
from nas_lightning.search.plan import (
    ARCH_GRADIENT,
    ARCH_OPTIMIZER,
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    PARTIAL_CHANNELS,
    SearchPlan,
)
from nas_lightning.search.strategy import ArchStep, SearchStrategy
from nas_lightning.supernet import ArchitectureParameters, Mixing, SupernetFactory
from nas_lightning.tasks import Classification, Task


def darts_weight_optimizer(params: Any) -> Optimizer:
    """SGD of DARTS' search: rate 0.025, momentum 0.9, weight decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


class SearchModule(LightningModule):
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

    Raises:
        UsageError: Strategies conflict or miss one another, or sizes do not fit.
    """

    def __init__(
        self,
        data_spec: dict[str, int],
        supernet: SupernetFactory,
        task: Task | None = None,
        strategies: list[SearchStrategy] | None = None,
        weight_optimizer: OptimizerCallable = darts_weight_optimizer,
        weight_schedule: Schedule | None = None,
        arch_optimizer: OptimizerCallable | None = None,
        arch_schedule: Schedule | None = None,
        gradient_clip: float | None = 5.0,
        arch_gradient_clip: float | None = None,
    ) -> None:
        super().__init__()
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.automatic_optimization = False
        self.task = task or Classification()
        self.strategies = list(strategies or ())
        self.space = supernet.space
        self.plan = SearchPlan(self.space, self.strategies, arch_optimizer)
        self.supernet = supernet.build(data_spec, self.plan[PARTIAL_CHANNELS])
        self.arch = ArchitectureParameters(
            self.space,
            self.plan[OP_RELAXATION],
            self.plan[EDGE_RELAXATION],
            seed=torch.initial_seed() % 2**63,
        )
        # α's gradients are averaged by BilevelProblem.grad, so DDP leaves them alone
        self._ddp_params_and_buffers_to_ignore = [f"arch.{name}" for name in self.arch.named()]
        self.weight_optimizer = weight_optimizer
        self.weight_schedule = weight_schedule or CosineSchedule(eta_min=0.001)
        self.arch_schedule = arch_schedule or ConstantSchedule()
        self.gradient_clip = gradient_clip
        self.arch_gradient_clip = arch_gradient_clip
        self.meters = nn.ModuleDict(
            {name: self.task.metrics(data_spec) for name in ("weight", "arch", "val", "one_shot")}
        )
        self._one_shot: Mixing | None = None

    # -- the two steps -------------------------------------------------------------------------

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """An architecture step, if every strategy allows it, and a weight step."""
        if all(strategy.allow_arch_step(self) for strategy in self.strategies):
            self._arch_step(batch)
        self._weight_step(batch["train"])

    def _arch_step(self, batch: Mapping[str, Any]) -> None:
        seen: list[tuple[Tensor, Tensor]] = []
        replay = ReplayedDraws(self.device)

        def outer() -> Tensor:
            output = self.supernet(self.task.inputs(batch["val"]), self.arch())
            loss = self.task.loss(output, batch["val"])
            seen.append((output.detach(), loss.detach()))
            return loss + self.plan.penalty(self.arch)

        def inner() -> Tensor:
            output = self.supernet(self.task.inputs(batch["train"]), self.arch())
            return self.task.loss(output, batch["train"])

        arch = self.arch.named()
        weights = dict(self.supernet.named_parameters())
        weight_optimizer, optimizer = self._optimizers()
        problem = BilevelProblem(
            lambda: replay(inner), lambda: replay(outer), weights, arch, weight_optimizer
        )
        with _unmoved_buffers(self.supernet):
            gradients = self.plan[ARCH_GRADIENT](problem)
        before = {name: value.detach().clone() for name, value in arch.items()}
        for value, gradient in zip(arch.values(), gradients, strict=True):
            value.grad = gradient
        kept = {name: gradient.clone() for name, gradient in zip(arch, gradients, strict=True)}
        self.clip_gradients(optimizer, self.arch_gradient_clip, "norm")
        optimizer.step()
        optimizer.zero_grad()
        after = {name: value.detach().clone() for name, value in arch.items()}
        step = ArchStep(before, after, kept)
        with torch.no_grad():
            for strategy in self.strategies:
                strategy.on_after_arch_step(self, step)
        # behind all hooks: an additive rule may have left the domain of the relaxation
        self.arch.project_()
        self._report("arch", "search/arch", batch["val"], *seen[0])

    def _weight_step(self, batch: Any) -> None:
        optimizer, _ = self._optimizers()
        output = self.supernet(self.task.inputs(batch), self.arch().detach())
        loss = self.task.loss(output, batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, self.gradient_clip, "norm")
        optimizer.step()
        self._report("weight", "search/train", batch, output.detach(), loss.detach())

    def _optimizers(self) -> tuple[Optimizer, Optimizer]:
        """The weight optimizer and the architecture optimizer."""
        weight, arch = cast("list[Optimizer]", self.optimizers())  # Lightning's wrappers
        return weight, arch

    def _report(self, meter: str, name: str, batch: Any, output: Tensor, loss: Tensor) -> None:
        """Log the loss as `<name>_loss` and the task's metrics as `<name>_<metric>`."""
        metrics = cast("MetricCollection", self.meters[meter])
        self.task.update(metrics, output, batch)
        size = len(output)
        training = self.trainer.training
        self.log(f"{name}_loss", loss, prog_bar=True, on_step=training, on_epoch=True,
                 sync_dist=True, batch_size=size)  # fmt: skip
        for key, metric in metrics.items():
            self.log(f"{name}_{key}", metric, prog_bar=key == "accuracy", on_step=False,
                     on_epoch=True, batch_size=size)  # fmt: skip

    # -- evaluation ----------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """The supernet's output under the present mixing weights."""
        output: Tensor = self.supernet(x, self.arch())
        return output

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the supernet, `search/val_…`."""
        output = self(self.task.inputs(batch))
        self._report("val", "search/val", batch, output, self.task.loss(output, batch))

    def on_test_start(self) -> None:
        """Read off the cells whose one-shot performance is tested."""
        self._one_shot = one_hot(self.space, self.genotype(), self.device)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the discrete cells with the supernet's weights, `one_shot/test_…`."""
        assert self._one_shot is not None
        output = self.supernet(self.task.inputs(batch), self._one_shot)
        self._report("one_shot", "one_shot/test", batch, output, self.task.loss(output, batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The supernet's output (B, …)."""
        output: Tensor = self(self.task.inputs(batch))
        return output

    def genotype(self, **provenance: Any) -> Genotype:
        """The genotype that the parameters stand for now.

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
            **provenance,
        }
        weights = {
            kind: {"ops": _rounded(mixing.ops[kind]), "edges": _rounded(mixing.edges[kind])}
            for kind in self.space.kinds
        }
        return Genotype(self.space.name, cells, origin, weights)

    # -- Lightning -----------------------------------------------------------------------------

    def configure_callbacks(self) -> Sequence[Callback]:
        """The strategies."""
        return self.strategies

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """The weight optimizer and the architecture optimizer, over disjoint parameters."""
        weight = self.weight_optimizer(self.supernet.parameters())
        # ordered and named groups: a resumed state can only land on its own parameters
        groups = [
            {"params": list(parameters.values()), "name": name}
            for name, parameters in (("alpha", self.arch.alpha), ("beta", self.arch.beta))
            if len(parameters)
        ]
        arch = self.plan[ARCH_OPTIMIZER](groups)
        epochs = planned_epochs(self.trainer)
        schedulers = [
            self.weight_schedule.build(weight, epochs),
            self.arch_schedule.build(arch, epochs),
        ]
        return [weight, arch], schedulers

    def on_fit_start(self) -> None:
        """Check the run's settings and start from one architecture on all processes.

        Raises:
            UsageError: fp16 is asked for, or there are no two halves of the data.
        """
        if self.trainer.precision == "16-mixed":
            raise UsageError("precision 16-mixed loses architecture gradients: use bf16-mixed")
        if getattr(self.trainer.datamodule, "mode", "search") != "search":  # type: ignore[attr-defined]
            raise UsageError("a search needs the two halves of the data: set data mode to search")
        for value in self.arch.parameters():
            value.data.copy_(self.trainer.strategy.broadcast(value.data))

    def on_train_epoch_end(self) -> None:
        """Step the schedules; manual optimisation leaves that to us."""
        with warnings.catch_warnings():
            # in a warm-up the architecture optimizer has not stepped yet, and rightly so
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.* before .*optimizer.step.*")
            for scheduler in cast("list[LRScheduler]", self.lr_schedulers()):
                scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is of."""
        checkpoints.stamp(checkpoint, "search", self.space.name)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint is of this search.

        Raises:
            CheckpointError: It is of something else; says of what.
        """
        checkpoints.check(checkpoint, "search", self.space.name, self)


@contextmanager
def _unmoved_buffers(module: nn.Module) -> Iterator[None]:
    """Put buffers back: evaluating a gradient must not move running statistics."""
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])


def _rounded(weights: Tensor) -> Any:
    return torch.tensor(weights.tolist(), dtype=torch.float64).round(decimals=6).tolist()
