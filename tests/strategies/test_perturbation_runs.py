"""Perturbation-based selection in a run: tuning, interruption, and what is refused."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.callbacks import GracefulStop, RunCheckpoint, RunInterruptedError
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.measure import BetweenMeasurements
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import (
    CDARTS,
    EdgeNormalization,
    FairDARTS,
    KeepOperations,
    PerturbationSelection,
    RobustDARTS,
    TwoStage,
)
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory
from tests.strategies.test_perturbation_selection import decisions

# -- tuning ----------------------------------------------------------------------------------------


class Steps(Callback):
    """Keeps rates, and whether the optimizer of the weights has momentum, before each batch."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.fresh: list[bool] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.fresh.append(not trainer.optimizers[0].state)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_weights_are_tuned_with_a_tenth_of_the_rate_and_a_fresh_optimizer(
    schedule: Any, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    steps = Steps()
    module = make_search([PerturbationSelection("magnitude", 1, tuning_schedule=schedule)])
    trainer = make_trainer(max_epochs=8, limit_train_batches=2, limit_val_batches=0,
                           callbacks=[steps])  # fmt: skip
    trainer.fit(module, datamodule=search_data)
    assert steps.rates[0] == 0.025
    cosine = [0.0025 * (1 + math.cos(math.pi * e / 6)) / 2 for e in range(6)]
    expected = cosine if schedule == "cosine" else [0.0025] * 6
    assert steps.rates[4::2] == pytest.approx(expected)
    assert [i for i, fresh in enumerate(steps.fresh) if fresh] == [4]


def test_alpha_of_undecided_edges_is_trained_and_that_of_decided_ones_is_not(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    class Rows(Callback):
        def __init__(self) -> None:
            self.alpha: list[Tensor] = []

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert isinstance(pl_module, SearchModule)
            self.alpha.append(pl_module.arch.alpha["normal"].detach().clone())

    rows, strategy = Rows(), PerturbationSelection("magnitude", 1)
    module = make_search([strategy])
    trainer = make_trainer(max_epochs=7, limit_train_batches=1, limit_val_batches=0,
                           callbacks=[rows])  # fmt: skip
    trainer.fit(module, datamodule=search_data)
    decided = [one["edge"] for one in decisions(module) if one["kind"] == "normal"
               and "edge" in one]  # fmt: skip
    edges = [str(edge) for edge in module.space.cell("normal").edges]
    for epoch in range(1, 6):  # rows.alpha[e] is α at the start of epoch e
        moved = (rows.alpha[epoch + 1] != rows.alpha[epoch]).any(dim=1).tolist()
        assert moved == [edge not in decided[:epoch] for edge in edges]


# -- interruption ----------------------------------------------------------------------------------


class Send(BetweenMeasurements, Callback):
    """Sends a signal after so many measurements, or in a batch of the last epoch."""

    def __init__(self, count: int) -> None:
        self.count = count

    def on_measured(self, trainer: Trainer) -> None:
        self.count -= 1
        if not self.count:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        if self.count < -1 and trainer.current_epoch == 7:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("count", "where"),
    # 5 rounds of 2 · (1 + 3) measurements, and then 2 · 3 of edges
    [(42, "epoch 7 of 8"),
     pytest.param(11, "epoch 3 of 8", marks=pytest.mark.long),
     pytest.param(-1, "epoch 8 of 8, batch 1", marks=pytest.mark.long)],
)  # fmt: skip
def test_a_run_resumes_exactly_wherever_it_was_killed(
    count: int,
    where: str,
    tmp_path: Path,
    search_data: Synthetic,
    make_trainer: TrainerFactory,
    make_search: SearchFactory,
) -> None:
    """While an operation is selected, while an edge is, and while the weights are tuned."""

    def fit(*callbacks: Callback, path: Path | None = None, seed: int = 0) -> SearchModule:
        module = make_search([PerturbationSelection(tuning_epochs=1)], seed=seed)
        trainer = make_trainer(max_epochs=8, limit_train_batches=2, limit_val_batches=1,
                               callbacks=list(callbacks),
                               enable_checkpointing=bool(callbacks))  # fmt: skip
        trainer.fit(module, datamodule=search_data, ckpt_path=path)
        return module

    whole, saving = fit(), RunCheckpoint(tmp_path, save_top_k=0)
    with pytest.raises(RunInterruptedError, match=rf"^stopped after {where}: go on from "):
        fit(Send(count), GracefulStop(), saving)
    again = RunCheckpoint(tmp_path, save_top_k=0)
    resumed = fit(again, path=tmp_path / "last.ckpt", seed=99)
    assert decisions(resumed) == decisions(whole)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "names"),
    [([RobustDARTS()], "RobustDARTS ends it early"),
     ([EdgeNormalization(), TwoStage(1)], "TwoStage chooses edges itself"),
     ([CDARTS(layers=6)], "CDARTS trains with a network of its own"),
     ([FairDARTS()], "FairDARTS and PerturbationSelection both decide the discretizer")],
)  # fmt: skip
def test_strategies_that_do_not_fit_are_named(
    others: list[SearchStrategy], names: str, make_search: SearchFactory
) -> None:
    with pytest.raises(UsageError, match=f"conflicting strategies: .*{names}") as error:
        make_search([*others, PerturbationSelection()])
    assert "\n" not in str(error.value)


def test_validation_data_and_epochs_are_needed(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    with pytest.raises(UsageError, match=r"PerturbationSelection takes the last 26 epochs, so"):
        make_trainer(max_epochs=26).fit(
            make_search([PerturbationSelection()]), datamodule=search_data
        )
    trainer = make_trainer(max_epochs=27, limit_val_batches=0)
    with pytest.raises(UsageError, match="PerturbationSelection measures on the validation data"):
        trainer.fit(make_search([PerturbationSelection()]), datamodule=search_data)
    keep = KeepOperations(candidates={kind: ["skip_connect"] for kind in ("normal", "reduce")})
    strategy = PerturbationSelection()
    one_node = DartsSupernet(8, 3, nodes=1, primitives=PRIMITIVES)
    with pytest.raises(UsageError, match="has nothing to select: one operation runs on each edge"):
        SearchModule(SPEC, one_node, strategies=[strategy, keep])
