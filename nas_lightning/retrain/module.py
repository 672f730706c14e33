"""The LightningModule that trains the network of a genotype from scratch."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from lightning import Callback
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nas_lightning.architecture import Genotype, NetworkFactory
from nas_lightning.errors import CheckpointMismatchError, DivergedError, UsageError
from nas_lightning.hparams import record_hyperparameters
from nas_lightning.layers.memory_format import images_last, store
from nas_lightning.ranges import NOT_NEGATIVE, check
from nas_lightning.search.settings import shared_settings
from nas_lightning.spaces import default_network, load_genotype
from nas_lightning.tasks import Classification, Task
from nas_lightning.training.optimizers import check_optimizer
from nas_lightning.training.schedules import CosineSchedule, Schedule, scaled_rate, scheduled
from nas_lightning.training.spec import DataSpec, checked_spec
from nas_lightning.training.stage import Stage
from nas_lightning.training.trainer_checks import check_trainer


def retrain_optimizer(params: Any) -> Optimizer:
    """Return DARTS' SGD for retraining on CIFAR-10: rate 0.025, momentum 0.9, decay 3e-4."""
    return SGD(params, lr=0.025, momentum=0.9, weight_decay=3e-4)


class RetrainModule(Stage):
    """Train a found or published architecture from scratch.

    Args:
        data_spec: Sizes of the data (`in_channels`, `num_classes`, `image_size`); the command
            line takes them from the data module.
        genotype: A genotype file, a published name such as `DARTS_V2`, or a genotype's content.
        network: Factory of the network; by default that of the genotype's space, with published
            sizes.
        task: Loss and metrics; classification by default.
        optimizer: Optimizer of the weights; DARTS' SGD by default.
        schedule: Learning-rate schedule; by default cosine to 0.
        auxiliary_weight: Weight of the auxiliary head's loss; 0 builds no such head.
        drop_path: Probability of dropping a path at the end of training; it grows linearly,
            `drop_path · epoch / epochs`.

    Attributes:
        channels_last: Store kernels and images in the channels-last format, which changes results
            by rounding; `None` means on a CPU, if the network is faster there. A trainer that sets
            the module up applies it.

    Raises:
        UsageError: The sizes do not fit together, or the genotype does not exist.
        GenotypeError: The genotype is malformed.
    """

    kind = "retrain"
    names = ("train", "val", "test")
    train_streams = ("train",)
    channels_last: bool | None = None
    prefixes = MappingProxyType({"train": "retrain/train", "val": "retrain/val"})

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
        data_spec = checked_spec(data_spec)
        super().__init__(data_spec, task or Classification(), drop_path)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        record_hyperparameters(self, arguments)
        self.auxiliary_weight = auxiliary_weight
        check(self, auxiliary_weight=NOT_NEGATIVE)
        self.genotype = load_genotype(genotype)
        self.space = self.genotype.space
        # the content, not the path: a checkpoint must outlive the file
        self.hparams["genotype"] = self.genotype.to_dict()
        self.optimizer = optimizer
        self.schedule = schedule or CosineSchedule()
        self.factory = network or default_network(self.genotype.space)
        self.network = self.factory.build(self.genotype, data_spec, auxiliary=auxiliary_weight > 0)
        check_optimizer("model.optimizer", optimizer, list(self.network.parameters()))
        self._last = False
        self._rate_scale = 1.0
        self._loss = torch.zeros(())
        self._norm = torch.zeros(())

    @property
    def trained(self) -> nn.Module:
        """The trained network."""
        return self.network

    def setup(self, stage: str) -> None:
        """Also choose the memory format, before the module is moved and optimizers are made."""
        super().setup(stage)
        chosen, before = self.channels_last, self._last
        if chosen is None:
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            chosen = on_cpu and self.factory.channels_last
        self._last = chosen
        if chosen or before:
            store(self.network, chosen)

    def _outputs(self, x: Any) -> Any:
        """Return the network's output, and that of an auxiliary head or `None`."""
        return self.network(images_last(x) if self._last else x)

    def forward(self, x: Any) -> Any:
        """Return the network's output; for images, logits (B, num_classes)."""
        return self._outputs(x)[0]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Read the rate scale of this batch, before the optimizer's step runs `training_step`."""
        super().on_train_batch_start(batch, batch_idx)
        self._rate_scale = self.task.rate_scale(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss, with the task's regularisation and the weighted auxiliary loss."""
        batch = self.accept("train_dataloader", batch)
        self.seed_draws(batch_idx)
        output, auxiliary = self._outputs(self.streams.inputs("train", batch))
        loss = self.task.loss(output, batch)
        self.streams.report(self, "train", "retrain/train", batch, output, loss)
        self.streams.carry("train", output)
        loss = loss + self.task.regularization(output)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self.task.loss(auxiliary, batch)
        self._loss = loss.detach()
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Check that loss and gradients are finite, before gradients are clipped.

        Raises:
            DivergedError: A value is not finite, and no callback rolls back.
        """
        try:
            self._norm = self.check_step("training step", self._loss, optimizer, self._scaled)
        except DivergedError as error:
            self.give_way(error)
            optimizer.zero_grad()  # without gradients the step changes nothing

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer is configured; without a scaler, reuse the norm of the check."""
        if self._scaled or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
        else:
            self.clip(optimizer, gradient_clip_val, self._norm)

    @property
    def _scaled(self) -> bool:
        """True if a gradient scaler checks the gradients."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step with the learning rate scaled as the task asks for this batch."""
        with scaled_rate(self.trainer.optimizers[0], self._rate_scale):
            super().optimizer_step(*args, **kwargs)

    def on_test_epoch_start(self) -> None:
        """Restart the stream of test batches."""
        self.streams.restart("test")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the metrics `retrain/val_…`."""
        self._evaluate("val", self.accept("val_dataloader", batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log the metrics `retrain/test_…`."""
        self._evaluate("test", self.accept("test_dataloader", batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the network's output; for images, logits (B, num_classes)."""
        return self(self.task.inputs(self.accept("predict_dataloader", batch)))

    def _evaluate(self, stream: str, batch: Any) -> None:
        output = self(self.streams.inputs(stream, batch))
        loss = self.task.loss(output, batch)
        self.streams.report(self, stream, f"retrain/{stream}", batch, output, loss)
        self.streams.carry(stream, output)

    def settings(self, data: object) -> dict[str, Any]:
        """Return the settings that a retraining can share with a search, by name."""
        return shared_settings(self, self.factory, self.optimizer, data)

    @property
    def components(self) -> dict[str, Any]:
        """Network factory and task."""
        return {"network": self.factory, "task": self.task}

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Return a new optimizer of the weights."""
        return {"optimizer": self.optimizer(self.network.parameters())}

    def configure_callbacks(self) -> list[Callback]:
        """Check the trainer, before anything is written, and return no callbacks."""
        if self.trainer.state.fn == "fit":
            check_trainer(self.trainer, self, search=False)
        return []

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Return the optimizer and its schedule, which steps once per epoch."""
        return scheduled(self.trainer, (self.build_optimizers()["optimizer"], self.schedule))

    def on_fit_start(self) -> None:
        """Check that the data comes as single batches.

        Raises:
            UsageError: The data module is in search mode.
        """
        super().on_fit_start()
        if getattr(self.trainer.datamodule, "mode", "retrain") != "retrain":  # type: ignore[attr-defined] # set by a connector
            raise UsageError("retraining takes one batch at a time: set data mode to retrain")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint belongs to this genotype, network and run.

        Raises:
            CheckpointMismatchError: It does not; the message says what differs.
        """
        # different cells can have equal tensors, since pooling has no weights
        saved = checkpoint.get("hyper_parameters", {}).get("genotype")
        if saved is not None and Genotype.from_dict(saved) != self.genotype:
            raise CheckpointMismatchError(
                "the checkpoint belongs to another genotype: set model.genotype to the one that it "
                "was trained with"
            )
        super().on_load_checkpoint(checkpoint)
