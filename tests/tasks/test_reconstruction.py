"""Reconstruction: loss and metrics by their formulas and in a run, and the predictions."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule
from torch import Tensor, nn

from nas_lightning.callbacks.predictions import PredictionWriter
from nas_lightning.data import Photographs, Signals
from nas_lightning.operators import Inpainting
from nas_lightning.tasks import Reconstruction
from nas_lightning.training.streams import Streams
from tests.conftest import TrainerFactory

SIGNALS: dict[str, Any] = {"dims": 1, "image_size": 64, "peak": 2.0}
IMAGES: dict[str, Any] = {"dims": 2, "image_size": 16, "peak": 1.0}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(count: int, size: int = 16) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A reconstruction, and the batch (y, x) it is of."""
    truth = torch.rand(count, 1, size, size)
    return truth + 0.1 * torch.randn_like(truth), (torch.zeros(count, 1, size // 4, 4), truth)


def test_the_loss_is_the_mean_squared_error() -> None:
    output, batch = images(5)
    expected = np.mean((output.double().numpy() - batch[1].double().numpy()) ** 2)
    assert float(Reconstruction().loss(output, batch)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("peak", [1.0, 2.0, 255.0])
def test_psnr_is_of_all_samples_together(peak: float) -> None:
    task = Reconstruction()
    metrics = task.metrics({**SIGNALS, "peak": peak})
    assert list(metrics) == ["psnr"]
    errors = []
    for count in (4, 7, 1):
        truth = peak * torch.randn(count, 1, 64)
        output = truth + torch.rand(count, 1, 1) * torch.randn_like(truth)
        task.update(metrics, output, (torch.zeros(count, 1, 16), truth))
        errors.append((output - truth).double().numpy().ravel())
    expected = 10 * np.log10(peak**2 / np.mean(np.concatenate(errors) ** 2))
    assert float(metrics.compute()["psnr"]) == pytest.approx(float(expected), rel=1e-5)


def test_psnr_is_the_first_metric_of_images() -> None:
    assert list(Reconstruction().metrics(IMAGES)) == ["psnr", "ssim"]


@pytest.mark.parametrize("size", [11, 16])
def test_ssim_of_equal_images_is_one(size: int) -> None:
    task = Reconstruction()
    metrics = task.metrics({**IMAGES, "image_size": size})
    _, (y, truth) = images(3, size)
    task.update(metrics, truth.clone(), (y, truth))
    assert float(metrics.compute()["ssim"]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("peak", [1.0, 2.0])
def test_ssim_of_flat_images(peak: float) -> None:
    """Without structure, only the term of the means is left: (2ab + c) / (a² + b² + c)."""
    task = Reconstruction()
    metrics = task.metrics({**IMAGES, "peak": peak})
    a, b = torch.rand(2, 6).double()
    flat = [mean.float().view(6, 1, 1, 1).expand(6, 1, 16, 16) for mean in (a, b)]
    for part in (slice(0, 4), slice(4, 6)):  # batches of different sizes
        task.update(metrics, flat[0][part], (flat[1][part], flat[1][part]))
    c = (0.01 * peak) ** 2
    expected = ((2 * a * b + c) / (a**2 + b**2 + c)).mean()
    assert float(metrics.compute()["ssim"]) == pytest.approx(float(expected), rel=1e-3)


def test_images_that_are_too_small_for_a_window() -> None:
    assert list(Reconstruction().metrics({**IMAGES, "image_size": 10})) == ["psnr"]


def test_metrics_of_half_precision() -> None:
    """Outputs of a network under autocast."""
    task = Reconstruction()
    metrics = task.metrics(IMAGES)
    output, batch = images(3)
    task.update(metrics, output.bfloat16(), batch)
    expected = task.metrics(IMAGES)
    task.update(expected, output.bfloat16().float(), batch)
    assert metrics.compute() == expected.compute()


def test_inputs_and_size() -> None:
    task = Reconstruction()
    _, batch = images(3)
    assert task.inputs(batch) is batch[0]
    assert task.size(batch) == 3
    assert repr(task) == "Reconstruction()"


# -- in a run ----------------------------------------------------------------------------------


class Scale(LightningModule):
    """Reconstructs by a factor on the measurement; reports as searches and retrainings do."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))
        self.task = Reconstruction()
        self.streams = Streams(self.task, spec, ["train", "val"])

    def step(self, stream: str, batch: Any) -> Tensor:
        output = self.factor * self.streams.inputs(stream, batch)
        loss = self.task.loss(output, batch)
        self.streams.report(self, stream, stream, batch, output, loss)
        return loss

    def training_step(self, batch: Any) -> Tensor:
        return self.step("train", batch)

    def validation_step(self, batch: Any) -> None:
        self.step("val", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("kind", [Signals, Photographs])
def test_what_is_logged(kind: Any, make_trainer: TrainerFactory) -> None:
    data = kind(train_size=64, batch_size=8, mode="retrain", val_fraction=0.25, seed=0)
    module, trainer = Scale(data.data_spec), make_trainer(max_epochs=2)
    trainer.validate(module, datamodule=data, verbose=False)  # counts start again
    trainer.fit(module, datamodule=data)
    logged, peak = trainer.callback_metrics, data.data_spec["peak"]
    for stream, loss in (("train", "train_loss_epoch"), ("val", "val_loss")):
        expected = 10 * np.log10(peak**2 / float(logged[loss]))
        assert float(logged[f"{stream}_psnr"]) == pytest.approx(expected, rel=1e-4)
        assert ("val_ssim" in logged) == (kind is Photographs)
    assert "val_psnr" in trainer.progress_bar_metrics
    assert "val_ssim" not in trainer.progress_bar_metrics


@pytest.mark.parametrize("spec", [SIGNALS, IMAGES], ids=["signals", "images"])
def test_counts_resume_from_a_checkpoint(spec: dict[str, Any], tmp_path: Path) -> None:
    task = Reconstruction()
    straight, first, second = (Streams(task, spec, ["train"]) for _ in range(3))
    shape = [1] + [16] * spec["dims"]

    def count(streams: Streams, *seeds: int) -> None:
        metrics: Any = streams.metrics["train_metrics"]
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            x = torch.rand(4, *shape, generator=generator)
            task.update(metrics, x + seed * torch.rand(x.shape, generator=generator), (x, x))

    count(straight, 1, 2, 3)
    count(first, 1, 2)
    torch.save(first.state("train"), tmp_path / "state.pt")
    second.go_on(torch.load(tmp_path / "state.pt", weights_only=True), torch.device("cpu"))
    count(second, 3)
    values: list[Any] = [s.metrics["train_metrics"].compute() for s in (straight, second, first)]  # type: ignore[operator] # a collection
    assert values[0] == values[1] != values[2]


# -- predictions -------------------------------------------------------------------------------


def test_reconstructions_are_written_value_by_value(tmp_path: Path) -> None:
    data = Photographs(size=12, operator=Inpainting(12), test_size=5, batch_size=2)
    data.setup("test")
    truths = [x for _, x in data.test_dataloader()]
    module: Any = SimpleNamespace(task=Reconstruction())
    trainer: Any = SimpleNamespace(datamodule=data, world_size=1, global_rank=0)
    writer = PredictionWriter(tmp_path)
    writer.on_predict_start(trainer, module)
    for number, x in enumerate(truths):
        writer.write_on_batch_end(trainer, module, x, None, None, number, 0)
    writer.on_predict_end(trainer, module)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["index", *[f"x{i}" for i in range(144)]]
    written = np.array(rows, dtype=float)
    assert written[:, 0].tolist() == list(range(5))
    # as a reader does
    np.testing.assert_allclose(
        written[:, 1:].reshape(-1, 1, 12, 12), torch.cat(truths).numpy(), rtol=1e-6
    )
