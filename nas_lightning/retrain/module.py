"""Train the network of a genotype from scratch."""

from __future__ import annotations

from typing import Any, cast

from lightning import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

from nas_lightning import checkpoints
from nas_lightning.errors import CheckpointError, UsageError
from nas_lightning.genotype import Genotype, load_genotype
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.retrain.network import CellNetwork
from nas_lightning.schedules import CosineSchedule, Schedule, planned_epochs
from nas_lightning.spaces.macro import StemName
from nas_lightning.tasks import Classification, Task


def retrain_optimizer(params: Any) -> Optimizer:
    """SGD of DARTS' CIFAR-10 retraining: rate 0.025, momentum 0.9, weight decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


class RetrainModule(LightningModule):
    """Train a found or published architecture from scratch.

    Args:
        data_spec: Sizes of the data (`in_channels`, `num_classes`, `image_size`); the command
            line takes them from the data module.
        genotype: A genotype file, a published name such as `DARTS_V2`, or a genotype's content.
        channels: Channels C of the first cell.
        layers: Number of cells.
        stem: `cifar` or `imagenet`.
        task: Loss and metrics; classification by default.
        optimizer: DARTS' SGD by default.
        schedule: Learning-rate schedule; by default cosine to 0.
        auxiliary_weight: Weight of the auxiliary head's loss; 0 builds no such head.
        drop_path: Probability of dropping a path at the end of training; it grows linearly,
            `drop_path · epoch / epochs`.

    Raises:
        UsageError: Sizes do not fit, or there is no such genotype.
        GenotypeError: The genotype is malformed.
    """

    def __init__(
        self,
        data_spec: dict[str, int],
        genotype: str | dict[str, Any],
        channels: int = 36,
        layers: int = 20,
        stem: StemName = "cifar",
        task: Task | None = None,
        optimizer: OptimizerCallable = retrain_optimizer,
        schedule: Schedule | None = None,
        auxiliary_weight: float = 0.4,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise UsageError(f"drop_path must be at least 0 and below 1, found {drop_path}")
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.genotype = load_genotype(genotype)
        # the content, not the path: a checkpoint must outlive the file
        self.hparams["genotype"] = self.genotype.to_dict()
        self.task = task or Classification()
        self.optimizer = optimizer
        self.schedule = schedule or CosineSchedule()
        self.auxiliary_weight = auxiliary_weight
        self.drop_path = drop_path
        self.network = CellNetwork(
            self.genotype,
            data_spec["in_channels"],
            data_spec["num_classes"],
            data_spec["image_size"],
            channels,
            layers,
            stem,
            auxiliary=auxiliary_weight > 0,
        )
        self.meters = nn.ModuleDict(
            {_meter(stage): self.task.metrics(data_spec) for stage in ("train", "val", "test")}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes)."""
        output: Tensor = self.network(x)[0]
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss, with the auxiliary head's share."""
        output, auxiliary = self.network(self.task.inputs(batch))
        loss = self.task.loss(output, batch)
        self._report("train", batch, output.detach(), loss.detach())
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self.task.loss(auxiliary, batch)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """`retrain/val_…`."""
        self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """`retrain/test_…`."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Logits (B, num_classes)."""
        output: Tensor = self(self.task.inputs(batch))
        return output

    def _evaluate(self, stage: str, batch: Any) -> None:
        output = self(self.task.inputs(batch))
        self._report(stage, batch, output, self.task.loss(output, batch))

    def _report(self, stage: str, batch: Any, output: Tensor, loss: Tensor) -> None:
        """Log the loss and the task's metrics as `retrain/<stage>_…`."""
        metrics = cast("MetricCollection", self.meters[_meter(stage)])
        self.task.update(metrics, output, batch)
        size = len(output)
        self.log(f"retrain/{stage}_loss", loss, prog_bar=True, on_step=stage == "train",
                 on_epoch=True, sync_dist=True, batch_size=size)  # fmt: skip
        for key, metric in metrics.items():
            self.log(f"retrain/{stage}_{key}", metric, prog_bar=key == "accuracy", on_step=False,
                     on_epoch=True, batch_size=size)  # fmt: skip

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """The optimizer and its schedule, stepped once an epoch."""
        optimizer = self.optimizer(self.network.parameters())
        return [optimizer], [self.schedule.build(optimizer, planned_epochs(self.trainer))]

    def on_fit_start(self) -> None:
        """Check that the data comes as single batches.

        Raises:
            UsageError: The data module is set to search.
        """
        if getattr(self.trainer.datamodule, "mode", "retrain") != "retrain":  # type: ignore[attr-defined]
            raise UsageError("retraining takes one batch at a time: set data mode to retrain")

    def on_train_start(self) -> None:
        """Set drop path; a run that goes on within an epoch skips that epoch's start."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Ramp drop path up."""
        epochs = planned_epochs(self.trainer)
        self.network.set_drop_path(self.drop_path * self.current_epoch / epochs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is of."""
        checkpoints.stamp(checkpoint, "retrain", self.genotype.space)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint is of this network.

        Raises:
            CheckpointError: It is of something else; says of what.
        """
        checkpoints.check(checkpoint, "retrain", self.genotype.space, self)
        # cells may differ without a difference in any tensor: pooling has no weights
        if Genotype.from_dict(checkpoint["hyper_parameters"]["genotype"]) != self.genotype:
            raise CheckpointError("the checkpoint is of another genotype than the one given")


def _meter(stage: str) -> str:
    """Key of a stage's metrics; `train` alone is a method of every module."""
    return f"{stage}_metrics"
