"""Label smoothing in a retraining: it applies to the training loss of both heads."""

from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from nas_lightning.tasks import Classification
from tests.conftest import TrainerFactory

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 32}


def smoothed(output: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy against (1 - s) · one-hot + s / classes."""
    classes = output.shape[1]
    target = torch.full_like(output, smoothing / classes)
    target[torch.arange(len(labels)), labels] += 1 - smoothing
    return -(target * output.log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_of_classification(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    labels = torch.randint(5, (6,), generator=generator)
    found = Classification(smoothing).loss(output, (torch.zeros(6, 3, 8, 8), labels))
    torch.testing.assert_close(found, smoothed(output, labels, smoothing))


class Steps(Callback):
    """Record the batches and the losses of the training steps."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.batches: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self.batches.append(batch)


@pytest.mark.parametrize("auxiliary_weight", [0.0, 0.4])
def test_a_training_step_takes_the_smoothed_loss(
    auxiliary_weight: float, make_trainer: TrainerFactory
) -> None:
    lightning.seed_everything(0, verbose=False)
    module = RetrainModule(
        SPEC, "DARTS_V2", DartsNetwork(4, 3), Classification(0.3),
        auxiliary_weight=auxiliary_weight, drop_path=0.0,
    ).double()  # fmt: skip
    start = {name: value.clone() for name, value in module.state_dict().items()}
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=32, train_size=10, test_size=8, batch_size=8,
        mode="retrain",
    )  # fmt: skip
    steps = Steps()
    settings = {"precision": "64-true", "limit_train_batches": 1, "limit_val_batches": 0}
    make_trainer(**settings, callbacks=[steps]).fit(module, datamodule=data)
    module.load_state_dict(start)
    module.train()
    (images, labels) = steps.batches[0]
    output, auxiliary = module.network(images.double())
    expected = smoothed(output, labels, 0.3)
    if auxiliary is not None:
        expected = expected + auxiliary_weight * smoothed(auxiliary, labels, 0.3)
    assert (auxiliary is None) == (auxiliary_weight == 0)
    assert steps.losses == pytest.approx([float(expected.detach())], rel=1e-9)
