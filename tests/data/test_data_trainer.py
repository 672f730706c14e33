"""The loaders under Lightning's own trainer: every entry point, and two processes."""

import functools
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from nas_lightning.data import Digits, ImageData, Synthetic
from nas_lightning.errors import UsageError
from tests.processes import run_two_processes

pytestmark = [
    # about the machine, not about the code
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    # raised inside Lightning by a newer torch
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
]


class Count(lightning.LightningModule):
    """Counts the samples of each stage."""

    def __init__(self) -> None:
        super().__init__()
        # a buffer, so that DDP has something to broadcast in each forward pass
        self.layer = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyBatchNorm1d())
        self.labels: dict[str, list[int]] = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        self.labels["train"] += y.tolist()
        result: torch.Tensor = self.layer(x).square().mean()
        return result

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.labels["val"] += batch[1].tolist()
        self.layer(batch[0])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.labels["test"] += batch[1].tolist()
        self.layer(batch[0])

    def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        self.labels["predict"] += y.tolist()
        result: torch.Tensor = self.layer(x)
        return result

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**settings: Any) -> lightning.Trainer:
    return lightning.Trainer(
        **{"devices": 1, "max_epochs": 1, "num_sanity_val_steps": 0, **settings},
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def module(data: ImageData) -> Count:
    result = Count()
    spec = data.data_spec
    result.layer(torch.rand(2, spec["in_channels"], spec["image_size"], spec["image_size"]))
    return result


def test_every_entry_point() -> None:
    data = Digits(mode="retrain", batch_size=100)
    model = module(data)
    trainer().fit(model, datamodule=data)
    trainer().test(model, datamodule=data, verbose=False)
    trainer().predict(model, datamodule=data)
    sizes = {stage: len(labels) for stage, labels in model.labels.items()}
    assert sizes == {"train": 1200, "val": 144, "test": 359, "predict": 359}
    assert model.labels["test"] == model.labels["predict"]


# Lightning warns about this, but it is intended
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_without_a_validation_part() -> None:
    data = Digits(mode="retrain", batch_size=100, val_fraction=0)
    model = module(data)
    trainer().fit(model, datamodule=data)
    assert len(model.labels["train"]) == 1400
    assert model.labels["val"] == []


def test_overfit_batches_is_refused() -> None:
    data = Digits(mode="retrain")
    with pytest.raises(UsageError, match="limit_train_batches"):
        trainer(overfit_batches=2).fit(module(data), datamodule=data)


def run_two_ranks(folder: Path, on_device: bool = False) -> None:
    """Train and test, in each of the two processes."""
    # 9 test images in batches of 2: one rank has three batches, the other two
    data = Synthetic(
        train_size=40, test_size=9, val_fraction=0.25, num_classes=9,
        mode="retrain", batch_size=2, on_device=on_device,
    )  # fmt: skip
    model = module(data)
    run = trainer(devices=2, strategy="ddp", max_epochs=2)
    run.fit(model, datamodule=data)
    run.test(model, datamodule=data, verbose=False)
    torch.save(model.labels, folder / f"{run.global_rank}.pt")


run_two_ranks_on_device = functools.partial(run_two_ranks, on_device=True)


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("run", ["run_two_ranks", "run_two_ranks_on_device"])
def test_two_processes_share_the_data(run: str, tmp_path: Path) -> None:
    run_two_processes("tests.data.test_data_trainer", run, tmp_path)
    a, b = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert len(a["train"]) == len(b["train"]) == 2 * 14  # 30 images: 7 batches of 2 on each rank
    assert len(a["val"] + b["val"]) == 2 * 10
    assert sorted(a["test"] + b["test"]) == list(range(9))
