"""Λ in the loggers: what is logged, when, and that the run does not notice."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.callbacks.cell_agreement import CellAgreement
from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.agreement import CellGradients, agreement
from nas_lightning.search.passes import Graphs
from nas_lightning.spaces import ChoiceSupernet, DartsSupernet
from nas_lightning.strategies import (
    GDAS,
    AmendedGradient,
    AuxiliarySkip,
    BinaryGates,
    CheckpointCells,
    EdgeNormalization,
    PartialChannels,
    ReferenceCell,
    Unrolled,
    WarmUp,
)
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory, quiet_trainer
from tests.methods import rest_long
from tests.recorded import EXACT, Save, run, same, search


class Batches(Callback):
    """Keeps the gradients of the cells that each batch left, before `CellAgreement` reads them."""

    def __init__(self) -> None:
        self.seen: list[CellGradients | None] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.seen.append(pl_module.cell_gradients)


def logged(trainer: Trainer) -> dict[str, float]:
    """Everything that was logged about agreement."""
    metrics = trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items() if "lambda" in name}


STRATEGIES: dict[str, list[SearchStrategy]] = {
    "darts": [],
    "partial": [PartialChannels(2), EdgeNormalization()],
    "auxiliary skip": [AuxiliarySkip()],
    "gdas": [GDAS()],
    "gates": [BinaryGates()],
    "unrolled": [Unrolled()],
    "amended": [AmendedGradient(exact=True)],
    "checkpointed": [CheckpointCells(), EdgeNormalization()],
    "reference": [ReferenceCell(), CheckpointCells()],
}


@pytest.mark.parametrize("name", rest_long(STRATEGIES, keep=["darts", "reference"]))
def test_the_run_does_not_notice(name: str, tmp_path: Path) -> None:
    strategies = copy.deepcopy([STRATEGIES[name] for _ in range(2)])
    plain = run(strategies[0], tmp_path)
    measured = run(strategies[1], tmp_path, CellAgreement(every=1))
    assert same(plain.trace, measured.trace)
    for part, value in plain.module.state_dict().items():
        assert torch.equal(value, measured.module.state_dict()[part]), part
    assert logged(measured.trainer).keys() == {"search/lambda", "search/lambda_reduce"}
    assert not logged(plain.trainer)
    assert measured.module.cell_gradients is None


def test_it_logs_the_mean_of_the_measured_batches(tmp_path: Path) -> None:
    batches = Batches()
    found = run([], tmp_path, batches, CellAgreement(every=2), max_epochs=1)
    first, second, third = batches.seen  # three batches, of which two are measured
    assert second is None
    assert first is not None
    assert third is not None
    values = [agreement(each.by_kind()["reduce"]) for each in (first, third)]
    expected = pytest.approx(float(sum(values)) / 2, rel=1e-6)
    assert logged(found.trainer) == {"search/lambda": expected, "search/lambda_reduce": expected}


class Logged(Callback):
    """Keeps what each epoch has logged."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch > 1:
            self.epochs.append(logged(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append(logged(trainer))


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_run_that_resumes_within_an_epoch_logs_the_same(every: int, tmp_path: Path) -> None:
    """Batches before the stop count too, also if none after it is measured; and only once."""
    saver, (one, two) = Save(tmp_path / "middle.ckpt"), (Logged(), Logged())
    whole = run([], tmp_path, CellAgreement(every), saver, one, max_epochs=3)
    again = search([], seed=99).double()
    settings = {**EXACT, "max_epochs": 3, "callbacks": [CellAgreement(every), two]}
    trainer = quiet_trainer(default_root_dir=tmp_path, **settings)
    trainer.fit(again, datamodule=whole.data, ckpt_path=saver.path, weights_only=True)
    assert one.epochs == two.epochs
    assert len(one.epochs) == 2
    assert all(one.epochs)


def test_without_architecture_steps_nothing_is_logged(tmp_path: Path) -> None:
    found = run([WarmUp(1)], tmp_path, CellAgreement(), max_epochs=1)
    assert not logged(found.trainer)


def test_cells_that_are_searched_individually_have_no_pairs(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    supernet = DartsSupernet(4, 3, nodes=2, primitives=PRIMITIVES, individual=True)
    trainer = make_trainer(callbacks=[CellAgreement()], limit_train_batches=1)
    trainer.fit(SearchModule(SPEC, supernet), datamodule=search_data)
    assert not logged(trainer)


def test_choices_that_share_alpha_are_compared(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    supernet = ChoiceSupernet("tests.spaces.choice.networks.Chain")
    module = SearchModule(SPEC, supernet)
    assert max(module.supernet.cell_counts.values()) > 1
    trainer = make_trainer(callbacks=[CellAgreement()], limit_train_batches=1)
    trainer.fit(module, datamodule=search_data)
    assert logged(trainer).keys() == {"search/lambda"}


def test_replayed_passes_are_not_measured(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    def fails(function: Any) -> Any:
        raise RuntimeError("no graphs here")

    module = make_search()
    module.graphs = Graphs(fails, warm=100)
    trainer = make_trainer(callbacks=[CellAgreement()], limit_train_batches=1)
    trainer.fit(module, datamodule=search_data)
    assert not logged(trainer)
