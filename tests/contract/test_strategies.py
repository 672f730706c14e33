"""What every strategy must hold; classes are found by themselves, so new ones need no edit here."""

import copy
import inspect
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

import nas_lightning.strategies
from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    AmendedGradient,
    Backtracking,
    DartsPlus,
    EdgeNormalization,
    ExponentiatedGradient,
    FairDARTS,
    Neumann,
    PartialChannels,
    RobustDARTS,
    SingleLevel,
    TwoStage,
    Unrolled,
    WarmUp,
)
from tests.conftest import SearchFactory, TrainerFactory

TWO_BATCHES: dict[str, Any] = {"limit_train_batches": 2, "limit_val_batches": 1}
# arguments under which a strategy acts within three epochs of two batches, and what it needs
ARGUMENTS: dict[str, dict[str, Any]] = {
    "WarmUp": {"epochs": 1},
    "PartialChannels": {"k": 2},
    "TwoStage": {"edge_epochs": 1},
    "Backtracking": {"start": -10, "rate": 0.1, "coefficient": 0.04},
    "ExponentiatedGradient": {"edges": True, "entropy": 0.01},
    # they change a run by ending it before its third epoch
    "DartsPlus": {"criterion": "skips", "skips": 1},
    "RobustDARTS": {"every": 1, "window": 1, "back": 1, "first_epoch": 0, "factor": 1e-3},
}
NEEDS: dict[str, Sequence[SearchStrategy]] = {
    "Backtracking": (EdgeNormalization(),),
    "TwoStage": (EdgeNormalization(),),
}
# they compute the same bits in another way
CHANGES_NOTHING = {"CheckpointCells"}
CLASSES = [
    kind
    for _, kind in inspect.getmembers(nas_lightning.strategies, inspect.isclass)
    if issubclass(kind, SearchStrategy)
]
METHODS: dict[str, tuple[SearchStrategy, ...]] = {
    "darts": (),
    "pcdarts": (PartialChannels(2), EdgeNormalization()),
    "idarts": (
        PartialChannels(2),
        EdgeNormalization(),
        Backtracking(start=-10, rate=0.1, coefficient=0.04),
    ),
    "amended": (AmendedGradient(),),
    "darts_second_order": (Unrolled(),),
    "neumann": (Neumann(terms=2),),
    "gaea_darts": (ExponentiatedGradient(),),
    "snas": (SNAS(), SingleLevel()),
    "gdas": (GDAS(),),
    "gaea_gdas": (GDAS(), ExponentiatedGradient()),
    "gdas_second_order": (GDAS(), Unrolled()),
    "gdas_amended": (GDAS(), AmendedGradient(exact=True)),
    "fair_darts": (FairDARTS(),),
    "two_stage": (EdgeNormalization(), TwoStage(1)),
    "amended_gaea_two_stage": (
        ExponentiatedGradient(edges=True),
        AmendedGradient(),
        TwoStage(1),
    ),
    "gaea_pcdarts": (PartialChannels(2), ExponentiatedGradient(edges=True)),
    "amended_gaea_idarts": (
        PartialChannels(2),
        ExponentiatedGradient(edges=True, entropy=0.01),
        AmendedGradient(),
        Backtracking(start=-10, rate=0.1, coefficient=0.04),
    ),
}
MONITORS: dict[str, tuple[SearchStrategy, ...]] = {  # they stop a search and steer nothing
    "darts_plus": (DartsPlus(criterion="ranking"),),
    "robust_darts": (RobustDARTS(every=1, first_epoch=0),),
}
METHODS_AND_MONITORS = {**METHODS, **MONITORS}
WITHOUT_BETA = {
    *("darts", "amended", "darts_second_order", "neumann", "gaea_darts"),
    *("snas", "gdas", "gaea_gdas", "gdas_second_order", "gdas_amended", "fair_darts"),
    *MONITORS,
}


def build(kind: type[SearchStrategy]) -> list[SearchStrategy]:
    """The strategy with what it needs beside it."""
    name = kind.__name__
    return [*copy.deepcopy(NEEDS.get(name, ())), kind(**ARGUMENTS.get(name, {}))]


class Recorder(Callback):
    """Keeps α and β after every batch and the architecture gradients of every step."""

    def __init__(self) -> None:
        self.trace: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.trace.append({n: p.detach().clone() for n, p in pl_module.arch.named().items()})


def run(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    data: Synthetic,
    strategies: Sequence[SearchStrategy],
    epochs: int = 2,
) -> tuple[SearchModule, list[dict[str, Tensor]]]:
    """Epochs of two batches."""
    module = make_search(copy.deepcopy(list(strategies)))
    recorder = Recorder()
    trainer = make_trainer(max_epochs=epochs, callbacks=[recorder], **TWO_BATCHES)
    trainer.fit(module, datamodule=data)
    return module, recorder.trace


def same(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> bool:
    """Whether two traces are as long and hold the same numbers under the same names."""
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_it_pickles_and_says_what_it_is(kind: type[SearchStrategy]) -> None:
    strategy = build(kind)[-1]
    again = pickle.loads(pickle.dumps(strategy))
    assert repr(again) == repr(strategy)
    assert eval(repr(strategy), vars(nas_lightning.strategies)).__dict__ == strategy.__dict__


@pytest.mark.parametrize("kind", CLASSES)
def test_it_changes_the_run(
    kind: type[SearchStrategy],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    strategies = build(kind)
    _, without = run(make_search, make_trainer, search_data, strategies[:-1], epochs=3)
    _, with_it = run(make_search, make_trainer, search_data, strategies, epochs=3)
    assert same(without, with_it) == (kind.__name__ in CHANGES_NOTHING)


@pytest.mark.parametrize("kind", CLASSES)
def test_weights_without_a_gradient_are_announced(
    kind: type[SearchStrategy],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """DDP waits for the gradients of all weights, unless the class says that some get none."""
    module = make_search(build(kind))
    trainer = make_trainer(max_epochs=2, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    without = [name for name, p in module.supernet.named_parameters() if p.grad is None]
    assert bool(without) == kind.leaves_parameters_unused


@pytest.mark.parametrize("kind", CLASSES)
def test_a_checkpoint_rebuilds_it(
    kind: type[SearchStrategy],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    module = make_search(build(kind))
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = SearchModule.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    assert repr(again.strategies) == repr(module.strategies)
    assert again.genotype().cells == module.genotype().cells
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("method", METHODS_AND_MONITORS)
def test_the_same_seed_gives_the_same_run(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    runs = [
        run(make_search, make_trainer, search_data, METHODS_AND_MONITORS[method])[1]
        for _ in range(2)
    ]
    assert same(*runs)


class GradientCheck(SearchStrategy):
    """Keeps the largest gradient that each parameter got."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        for name, gradient in step.gradients.items():
            largest = float(gradient.abs().max())
            assert math.isfinite(largest)
            self.largest[name] = max(self.largest.get(name, 0.0), largest)


@pytest.mark.parametrize("method", METHODS_AND_MONITORS)
def test_every_architecture_parameter_gets_a_gradient(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    check = GradientCheck()
    module = make_search([*copy.deepcopy(METHODS_AND_MONITORS[method]), check])
    # α and β may be learned one after the other
    make_trainer(max_epochs=2, limit_val_batches=0).fit(module, datamodule=search_data)
    assert check.largest.keys() == module.arch.named().keys()
    assert min(check.largest.values()) > 0
    assert ("beta.normal" in check.largest) == (method not in WITHOUT_BETA)


@pytest.mark.parametrize("method", METHODS_AND_MONITORS)
def test_resume_equals_straight_bit_for_bit(
    method: str,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    """A checkpoint behind the first of two batches of the second epoch."""

    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (1, 0):
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    strategies = [WarmUp(1), *METHODS_AND_MONITORS[method]]
    module = make_search(copy.deepcopy(strategies))
    settings: dict[str, Any] = {"max_epochs": 3, **TWO_BATCHES}
    make_trainer(callbacks=[Save()], **settings).fit(module, datamodule=search_data)
    again = make_search(copy.deepcopy(strategies), seed=99)  # other weights, to be replaced
    trainer = make_trainer(**settings)
    trainer.fit(
        again, datamodule=search_data, ckpt_path=tmp_path / "middle.ckpt", weights_only=True
    )
    assert trainer.current_epoch == 3
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
