"""Replayed passes among what else happens in a run: the same run, and nothing old is replayed."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from nas_lightning.callbacks import RollBackOnNaN, RunCheckpoint, Speed, speed
from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.search.passes import WARM
from nas_lightning.search.replayable import forbids_graphs
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import WarmUp
from nas_lightning.supernet import SupernetFactory
from nas_lightning.tasks import Classification, Task
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.methods import fresh
from tests.search.test_graphs import Replays, Trace
from tests.search.test_reconstruction_search import data as signals
from tests.search.test_reconstruction_search import search as reconstruction_search
from tests.search.tracing import FROM_HOST, Traces

EPOCHS, BATCHES = 2, 5


def data() -> Synthetic:
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=16 * BATCHES, test_size=16,
        batch_size=8,
    )  # fmt: skip


class Smaller(Callback):
    """Makes the last batch of an epoch smaller: our loaders drop it, those of others may not."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == BATCHES - 1:
            batch.update({half: [part[:5] for part in parts] for half, parts in batch.items()})


def run(
    make: Callable[[], SearchModule], make_trainer: TrainerFactory, *callbacks: Callback,
    batches: Any = None, **kwargs: Any,
) -> Tensor:  # fmt: skip
    """What is trained and all buffers, after every batch (steps, numbers)."""
    trace = Trace()
    settings: dict[str, Any] = {"precision": "64-true", "max_epochs": EPOCHS, **kwargs}
    trainer = make_trainer(**settings, callbacks=[trace, Smaller(), *callbacks])
    trainer.fit(make(), datamodule=batches or data())
    assert trainer.max_epochs is not None
    assert batches is not None or len(trace.steps) == trainer.max_epochs * BATCHES
    return torch.stack(trace.steps)


def both(
    make: Callable[[], SearchModule], make_trainer: TrainerFactory,
    callbacks: Callable[[], list[Callback]] = list, **kwargs: Any,
) -> Replays:  # fmt: skip
    """Compare a search with a replayed one; how that was replayed."""
    expected = run(make, make_trainer, *callbacks(), **kwargs)
    replays = Replays()
    found = run(make, make_trainer, replays, *callbacks(), **kwargs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert expected.isfinite().all()
    assert not torch.equal(expected[0], expected[-1])
    return replays


def counts(replays: Replays) -> dict[str, int]:
    assert replays.graphs is not None
    return dict(replays.graphs.replayed)


@pytest.mark.long
@pytest.mark.parametrize("method", ["darts", "idarts", "gaea_darts"])
def test_a_smaller_last_batch_runs_by_itself(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    replays = both(lambda: make_search(fresh(method)), make_trainer)
    whole = EPOCHS * (BATCHES - 1) - WARM
    assert counts(replays) == {"arch step": whole, "weight step": whole}


@pytest.mark.long
def test_autocast_is_in_the_graph(make_search: SearchFactory, make_trainer: TrainerFactory) -> None:
    """To the bit: casts of weights are repeated in every replay."""
    replays = both(
        lambda: make_search(fresh("idarts")), make_trainer,
        precision="bf16-mixed",
    )  # fmt: skip
    assert replays.traces is not None
    assert replays.traces.operations["_to_copy"] > 0
    assert counts(replays)["weight step"] > 0


@pytest.mark.long
def test_passes_may_be_captured_in_another_order(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    """After a warm-up the weight pass is the first in the memory that all share."""
    replays = both(lambda: make_search([WarmUp(1)]), make_trainer)
    found = counts(replays)
    assert found["weight step"] == EPOCHS * (BATCHES - 1) - WARM
    assert found["arch step"] == BATCHES - 1 - WARM


@pytest.mark.long
def test_a_roll_back_is_seen_by_the_graphs(
    make_search: SearchFactory, make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    class Spoil(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
        ) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 1):
                with torch.no_grad():
                    next(pl_module.supernet.parameters()).fill_(math.nan)

    rolls: list[RollBackOnNaN] = []

    def callbacks() -> list[Callback]:
        rolls.append(RollBackOnNaN())
        saver = RunCheckpoint(tmp_path / str(len(rolls)))
        return [Spoil(), rolls[-1], saver]

    # the trace of a batch is taken before the run goes back
    replays = Replays()
    make = lambda: make_search(fresh("idarts"))  # noqa: E731
    settings: dict[str, Any] = {"enable_checkpointing": True, "max_epochs": 3}
    expected = run(make, make_trainer, *callbacks(), **settings)
    found = run(make, make_trainer, replays, *callbacks(), **settings)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert [roll.count for roll in rolls] == [1, 1]
    assert found[-1].isfinite().all()
    assert counts(replays)["weight step"] > BATCHES


# -- decisions of Python within a run ----------------------------------------------------------


class Freeze(Callback):
    """Keeps the head as it is in the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        head: Any = pl_module.supernet.head
        head.requires_grad_(trainer.current_epoch != 1)


class StopStatistics(Callback):
    """Keeps the running statistics as they are from the second epoch on, and normalises by them."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        for part in pl_module.supernet.modules():
            if isinstance(part, nn.BatchNorm2d) and trainer.current_epoch > 0:
                part.eval()


def with_statistics() -> SearchModule:
    lightning.seed_everything(0, verbose=False)
    primitives = ("sep_conv_3x3", "skip_connect")
    return SearchModule(SPEC, DartsSupernet(8, 3, nodes=1, primitives=primitives,
                                            running_stats=True))  # fmt: skip


@pytest.mark.long
def test_frozen_weights_are_not_replayed(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    replays = both(lambda: make_search([]), make_trainer, lambda: [Freeze()], max_epochs=3)
    # not in the second epoch
    assert counts(replays)["weight step"] == 2 * (BATCHES - 1) - WARM
    assert counts(replays)["arch step"] == 3 * (BATCHES - 1) - WARM


@pytest.mark.long
def test_other_modes_of_batch_norms_are_not_replayed(make_trainer: TrainerFactory) -> None:
    replays = both(with_statistics, make_trainer, lambda: [StopStatistics()])
    assert counts(replays) == dict.fromkeys(("arch step", "weight step"), BATCHES - 1 - WARM)


# -- after the run -----------------------------------------------------------------------------


@pytest.mark.long
def test_validation_and_test_are_those_of_any_search(
    make_trainer: TrainerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, float]] = []
    captures: list[Traces] = []

    def capture() -> Traces:
        captures.append(Traces(module.supernet))
        return captures[-1]

    monkeypatch.setitem(speed.CAPTURES, "cpu", capture)
    for graphs in (False, True):
        module = with_statistics()
        trainer = make_trainer(
            precision="64-true", max_epochs=EPOCHS, callbacks=[Speed(graphs=graphs)]
        )
        trainer.fit(module, datamodule=data())
        assert module.graphs is None  # its tensors were on the device
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        trainer.validate(module, datamodule=data(), verbose=False)
        values |= {f"again {k}": float(v) for k, v in trainer.callback_metrics.items()}
        trainer.test(module, datamodule=data(), verbose=False)
        values |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        found.append(values)
    assert len(captures) == 1
    assert captures[0].operations["convolution"] > 0
    assert {
        "search/train_loss",
        "search/val_loss",
        "again search/val_loss",
        "one_shot/test_loss",
    } <= (found[0].keys())
    assert found[1] == pytest.approx(found[0], rel=1e-9)


# -- other networks and tasks ------------------------------------------------------------------


class Doubles(Callback):
    """Brings every batch to float64."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        for half, (y, x) in batch.items():
            batch[half] = (y.double(), x.double())


@pytest.mark.long
def test_reconstructions_are_replayed(make_trainer: TrainerFactory) -> None:
    def make() -> SearchModule:
        return reconstruction_search().double()

    assert forbids_graphs(make()) is None
    replays = both(
        make, make_trainer, lambda: [Doubles()], batches=signals(), precision="32-true",
        limit_val_batches=0, max_epochs=4,
    )  # fmt: skip
    assert counts(replays)["arch step"] == counts(replays)["weight step"] > 0
    assert replays.traces is not None
    assert [name for name in FROM_HOST if replays.traces.operations[name]] == []


class OwnTask(Classification):  # type: ignore[misc] # in a project, one of its own
    replayable = False


class OwnSupernet(DartsSupernet):
    replayable = False


@pytest.mark.parametrize(
    ("task", "supernet", "name"),
    [
        (OwnTask(), DartsSupernet(8, 3, nodes=1), "OwnTask"),
        (Classification(), OwnSupernet(8, 3, nodes=1), "OwnSupernet"),
    ],
)
def test_only_what_says_so_is_captured(task: Any, supernet: Any, name: str) -> None:
    reason = forbids_graphs(SearchModule(SPEC, supernet, task))
    assert reason == f"{name} may change what a step computes"
    assert not any(base.replayable for base in (SearchStrategy, Task, SupernetFactory))


def test_several_processes_run_by_themselves(
    make_search: SearchFactory, make_trainer: TrainerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(speed.CAPTURES, "cpu", lambda: Traces(torch.nn.Module()))
    reasons = []
    for settings in ({}, {"devices": 2, "strategy": "ddp"}):
        module, callback = make_search([]), Speed(graphs=True)
        trainer = make_trainer(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            callback.setup(trainer, module, "fit")
        assert (module.graphs is None) == (callback.no_graphs is not None)
        callback.teardown(trainer, module, "fit")
        reasons.append(callback.no_graphs)
    assert reasons == [None, "several processes average their gradients"]
