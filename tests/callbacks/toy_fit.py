"""A small regression whose training and validation losses tests can dictate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from nas_lightning.data.loaders import TrainLoader
from nas_lightning.training.checkpoints import stamp

BATCHES = 4  # an epoch


class Toy(lightning.LightningModule):
    """Linear regression on fixed batches.

    Args:
        losses: Validation loss of each epoch; the last holds for all that follow.
        broken: Epochs and batches with a loss that is not a number.
        momentum: Of SGD.
    """

    def __init__(
        self,
        losses: Sequence[float] = (1.0,),
        broken: Sequence[tuple[int, int]] = (),
        momentum: float = 0.0,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.tied = self.layer  # its weights are in a checkpoint under two names
        self.losses, self.broken, self.momentum = losses, set(broken), momentum
        self.evaluated: list[Tensor] = []
        """Weights at each evaluation."""
        self.plain: list[Tensor] = []
        """Weights after each step."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batches()[batch_idx]  # wherever in the loader a resumed run is
        loss: Tensor = (self.layer(x) - y).square().mean()
        return loss * float("nan") if (self.current_epoch, batch_idx) in self.broken else loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.plain.append(self.weights())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluated.append(self.weights())
        loss = self.losses[min(self.current_epoch, len(self.losses) - 1)]
        self.log("retrain/val_loss", loss, on_epoch=True, batch_size=1)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluated.append(self.weights())

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weights()

    def weights(self) -> Tensor:
        """A copy of them (4,)."""
        return torch.cat([p.detach().flatten() for p in self.parameters()]).clone()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stamp(checkpoint, "toy", "toy")  # only our checkpoints are read

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=self.momentum)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)]


def train_data() -> TrainLoader:
    """Four batches, the same in each epoch."""
    return TrainLoader(batches(), batch_size=None)  # type: ignore[arg-type] # a list will do


def val_data() -> DataLoader[Any]:
    """One batch."""
    return DataLoader(batches()[:1], batch_size=None)  # type: ignore[arg-type] # a list will do


def batches() -> list[tuple[Tensor, Tensor]]:
    """Inputs (5, 3) and targets (5, 1)."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(5, 3, generator=generator), torch.randn(5, 1, generator=generator))
        for _ in range(BATCHES)
    ]


class Save(Callback):
    """Saves after a batch; in the order of callbacks it may come first or last."""

    def __init__(self, path: Path, epoch: int, batch: int) -> None:
        self.path, self.where = path, (epoch, batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.where:
            trainer.save_checkpoint(self.path)
