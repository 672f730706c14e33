"""Train the network of a genotype from scratch."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.architecture import Genotype, NetworkFactory
from nas_lightning.errors import CheckpointError, DivergedError, UsageError
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.search.settings import shared_settings
from nas_lightning.spaces import default_network, load_genotype
from nas_lightning.tasks import Classification, Task
from nas_lightning.training.optimizers import fuse
from nas_lightning.training.schedules import CosineSchedule, Schedule, planned_epochs, scaled_rate
from nas_lightning.training.stage import DataSpec, Stage


def retrain_optimizer(params: Any) -> Optimizer:
    """SGD of DARTS' CIFAR-10 retraining: rate 0.025, momentum 0.9, weight decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


class RetrainModule(Stage):
    """Train a found or published architecture from scratch.

    Args:
        data_spec: Sizes of the data (`in_channels`, `num_classes`, `image_size`); the command
            line takes them from the data module.
        genotype: A genotype file, a published name such as `DARTS_V2`, or a genotype's content.
        network: Sizes of the network; by default the one of the genotype's space, as published.
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

    kind = "retrain"
    names = ("train", "val", "test")
    train_streams = ("train",)

    def __init__(
        self,
        data_spec: DataSpec,
        genotype: str | dict[str, Any],
        network: NetworkFactory | None = None,
        task: Task | None = None,
        optimizer: OptimizerCallable = retrain_optimizer,
        schedule: Schedule | None = None,
        auxiliary_weight: float = 0.4,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__(data_spec, task or Classification(), drop_path)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.genotype = load_genotype(genotype)
        # the content, not the path: a checkpoint must outlive the file
        self.hparams["genotype"] = self.genotype.to_dict()
        self.optimizer = optimizer
        self.schedule = schedule or CosineSchedule()
        self.auxiliary_weight = auxiliary_weight
        self.factory = network or default_network(self.genotype.space)
        self.network = self.factory.build(self.genotype, data_spec, auxiliary=auxiliary_weight > 0)
        self._rate_scale = 1.0
        self._loss = torch.zeros(())
        self._norm = torch.zeros(())

    @property
    def space_name(self) -> str:
        """Name of the genotype's search space."""
        return self.genotype.space.name

    @property
    def trained(self) -> nn.Module:
        """The network."""
        return self.network

    def forward(self, x: Any) -> Any:
        """The network's output, for images logits (B, num_classes)."""
        return self.network(x)[0]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Take the rate of this batch; `training_step` runs within the optimizer's step."""
        self._rate_scale = self.task.rate_scale(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss, with the task's regularisation and the auxiliary head's share."""
        self.seed_draws(batch_idx)
        output, auxiliary = self.network(self.streams.inputs("train", batch))
        loss = self.task.loss(output, batch)
        self.streams.report(self, "train", "retrain/train", batch, output, loss)
        self.streams.carry("train", output)
        loss = loss + self.task.regularization(output)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self.task.loss(auxiliary, batch)
        self._loss = loss.detach()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Check loss and gradients, before they are clipped.

        Raises:
            DivergedError: Something is not finite, and nobody rolls back.
        """
        try:
            self._norm = self.check_step("training step", self._loss, optimizer, self._scaled)
        except DivergedError as error:
            self.give_way(error)
            optimizer.zero_grad()  # there is nothing to step with now

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer asks; by the norm that the check took, if no scaler is there."""
        if self._scaled or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
        else:
            self.clip(optimizer, gradient_clip_val, self._norm)

    @property
    def _scaled(self) -> bool:
        """Whether a gradient scaler watches the gradients."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step at the rate that the task wants for this batch."""
        with scaled_rate(self.trainer.optimizers[0], self._rate_scale):
            super().optimizer_step(*args, **kwargs)

    def on_test_epoch_start(self) -> None:
        """Begin the stream of test batches anew."""
        self.streams.restart("test")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """`retrain/val_…`."""
        self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """`retrain/test_…`."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """The network's output, for images logits (B, num_classes)."""
        return self(self.task.inputs(batch))

    def _evaluate(self, stream: str, batch: Any) -> None:
        output = self(self.streams.inputs(stream, batch))
        loss = self.task.loss(output, batch)
        self.streams.report(self, stream, f"retrain/{stream}", batch, output, loss)
        self.streams.carry(stream, output)

    def settings(self, data: object) -> dict[str, Any]:
        """What this retraining can have in common with a search, by name."""
        return shared_settings(self, self.factory, self.optimizer, data)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """The optimizer and its schedule, stepped once an epoch."""
        optimizer = fuse(self.optimizer(self.network.parameters()))
        return [optimizer], [self.schedule.build(optimizer, planned_epochs(self.trainer))]

    def on_fit_start(self) -> None:
        """Check that the data comes as single batches.

        Raises:
            UsageError: The data module is set to search.
        """
        super().on_fit_start()
        if getattr(self.trainer.datamodule, "mode", "retrain") != "retrain":  # type: ignore[attr-defined] # set by a connector
            raise UsageError("retraining takes one batch at a time: set data mode to retrain")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint is of this network.

        Raises:
            CheckpointError: It is of something else; says of what.
        """
        super().on_load_checkpoint(checkpoint)
        # cells may differ without a difference in any tensor: pooling has no weights
        if Genotype.from_dict(checkpoint["hyper_parameters"]["genotype"]) != self.genotype:
            raise CheckpointError("the checkpoint is of another genotype than the one given")
