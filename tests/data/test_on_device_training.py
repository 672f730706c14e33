"""Trainings on images that lie on the device: every entry point, exact resume.

Two processes are in `test_data_trainer`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from nas_lightning.data import Digits, Preparation, Synthetic
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import DartsNetwork
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.data.test_data_resume import BATCHES, PLACES, Mode, Save, batch_of, train
from tests.data.test_data_trainer import module, trainer

# raised inside Lightning by a newer torch
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")

Checkpoints = tuple[Mode, Path, list[tuple[Any, ...]]]


class Shifted(Synthetic):
    """With something to draw."""

    def preparation(self) -> Preparation:
        return Preparation(padding=1, flip=True)


def digits(mode: Mode, on_device: bool = True) -> Digits:
    lightning.seed_everything(0, verbose=False)  # orders follow the seed of the process
    return Digits(
        test_fraction=0.7, batch_size=32, mode=mode, arch_fraction=0.4, on_device=on_device
    )


@pytest.fixture(scope="module", params=["search", "retrain"])
def uninterrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoints:
    """A whole run, and a checkpoint of every place."""
    mode = request.param
    folder = tmp_path_factory.mktemp("checkpoints")
    saves = [Save(folder / f"{h}{b}.ckpt", h, batch_of(mode, h, b)) for h, b, _ in PLACES]
    whole = train(mode, saves=saves, data=digits(mode))
    assert [m[:2] for m in whole] == [(e, i) for e in range(3) for i in range(BATCHES[mode])]
    assert len({m[2] for m in whole}) == len(whole)  # no batch twice
    return mode, folder, whole


@pytest.mark.parametrize(("hook", "batch", "done"), PLACES)
def test_resume(hook: str, batch: int, done: int, uninterrupted: Checkpoints) -> None:
    mode, folder, whole = uninterrupted
    resumed = train(mode, ckpt=folder / f"{hook}{batch}.ckpt", data=digits(mode))
    size = BATCHES[mode]
    assert resumed == whole[size + (size if done == -1 else done) :]


@pytest.mark.parametrize("first", [True, False])
def test_a_run_resumes_the_other_way(first: bool, tmp_path: Path) -> None:
    """From loaders to the device and back: the same samples, other draws."""
    path = tmp_path / "x.ckpt"
    whole = train(
        "search", data=digits("search", first), saves=[Save(path, "on_train_batch_end", 4)]
    )
    resumed = train("search", data=digits("search", not first), ckpt=path)

    def labels(steps: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [(*step[:2], *(classes for _, classes in step[2:])) for step in steps]

    assert labels(resumed) == labels(whole[10 + 5 :])
    assert resumed != whole[10 + 5 :]


def test_every_entry_point() -> None:
    class Writer(BasePredictionWriter):
        """As `nas predict` has one; Lightning warns if it cannot tell the samples' numbers."""

        def write_on_epoch_end(self, *_: Any) -> None:
            pass

    data = Digits(mode="retrain", batch_size=100, cutout=4, on_device=True)
    model = module(data)
    trainer().validate(model, datamodule=data, verbose=False)
    trainer(num_sanity_val_steps=1).fit(model, datamodule=data)
    trainer().test(model, datamodule=data, verbose=False)
    trainer(callbacks=[Writer("epoch")]).predict(model, datamodule=data)
    sizes = {stage: len(labels) for stage, labels in model.labels.items()}
    # validation: on its own, the one batch of the sanity check, after the epoch
    assert sizes == {"train": 1200, "val": 144 + 100 + 144, "test": 359, "predict": 359}
    assert model.labels["test"] == model.labels["predict"]


class SaveOnce(Callback):
    """Saves in the middle of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (1, 1):
            trainer.save_checkpoint(self.path)


def small(kind: type[Synthetic], mode: Mode, on_device: bool = True, cutout: int = 4) -> Synthetic:
    return kind(
        **SPEC,
        train_size=64, test_size=16, batch_size=8, seed=0,
        mode=mode, cutout=cutout, on_device=on_device,
    )  # fmt: skip


def stage(mode: Mode, make_search: SearchFactory, seed: int = 0) -> LightningModule:
    if mode == "search":
        return make_search([], seed=seed)
    lightning.seed_everything(seed, verbose=False)
    return RetrainModule(SPEC, "DARTS_V2", DartsNetwork(4, 3), auxiliary_weight=0.0)


def assert_same(one: LightningModule, other: LightningModule) -> None:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_resume_equals_straight_bit_for_bit(
    mode: Mode, make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    path = tmp_path / "middle.ckpt"
    whole = stage(mode, make_search)
    make_trainer(max_epochs=3, callbacks=[SaveOnce(path)]).fit(
        whole, datamodule=small(Shifted, mode)
    )
    again = stage(mode, make_search, seed=99)  # other weights, to be replaced
    make_trainer(max_epochs=3).fit(
        again, datamodule=small(Shifted, mode), ckpt_path=path, weights_only=True
    )
    assert_same(whole, again)


@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_without_draws_a_training_is_that_of_the_loaders(
    mode: Mode, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    modules = []
    for on_device in (True, False):
        modules.append(stage(mode, make_search))
        data = small(Synthetic, mode, on_device, cutout=0)
        make_trainer(max_epochs=2).fit(modules[-1], datamodule=data)
    assert_same(*modules)


def test_a_validation_before_does_not_spoil_a_training(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """It copies the images in inference mode."""
    data = small(Shifted, "search")
    module = make_search([])
    make_trainer().validate(module, datamodule=data, verbose=False)
    make_trainer().fit(module, datamodule=data)
