"""The contract of every method: one seed, one run; gradients for all of α; exact resume."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from nas_lightning.search import SearchModule
from nas_lightning.strategies import WarmUp
from tests.conftest import quiet_trainer
from tests.methods import METHODS_AND_MONITORS, WITHOUT_BETA, fresh, rest_long
from tests.recorded import EXACT, GradientCheck, Save, recorded, run, same, search


def assert_equal(one: SearchModule, other: SearchModule) -> None:
    """Check that two modules hold the same bits."""
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


DRAWING = ["darts", "snas", "binary_gates", "sdarts_rs", "drnas", "darts_pt", "cdarts"]
"""Methods that draw random numbers in different ways, and the one that draws none."""


@pytest.mark.parametrize("name", rest_long(METHODS_AND_MONITORS, keep=DRAWING))
def test_the_same_seed_gives_the_same_run(name: str, tmp_path: Path) -> None:
    """Also when nothing looks at gradients and no checkpoint is written."""
    again = run(fresh(name), tmp_path)
    assert same(recorded(name).trace, again.trace)
    assert_equal(recorded(name).module, again.module)


@pytest.mark.parametrize("name", list(METHODS_AND_MONITORS))
def test_every_architecture_parameter_gets_a_gradient(name: str) -> None:
    found = recorded(name)
    assert found.largest.keys() == found.module.arch.named().keys()
    assert min(found.largest.values()) > 0
    assert ("beta.normal" in found.largest) == (name not in WITHOUT_BETA)


@pytest.mark.parametrize("name", list(METHODS_AND_MONITORS))
def test_weights_without_a_gradient_are_announced(name: str) -> None:
    strategies = recorded(name).module.strategies
    announced = any(strategy.leaves_parameters_unused for strategy in strategies)
    assert bool(recorded(name).without) == announced


@pytest.mark.parametrize("name", list(METHODS_AND_MONITORS))
def test_resume_equals_straight_bit_for_bit(name: str, tmp_path: Path) -> None:
    """From a checkpoint after the first of three batches of the second epoch."""
    whole = recorded(name)
    # the checkpoint's strategies; other weights, to be replaced
    again = search([*fresh(name), GradientCheck()], seed=99)
    again.double()  # before the checkpoint is read: Lightning would read it in single precision
    trainer = quiet_trainer(default_root_dir=tmp_path, **EXACT)
    trainer.fit(again, datamodule=whole.data, ckpt_path=whole.middle, weights_only=True)
    assert trainer.current_epoch == whole.trainer.current_epoch == 2
    assert_equal(whole.module, again)


@pytest.mark.parametrize("name", rest_long(METHODS_AND_MONITORS, keep=["idarts"]))
def test_resume_after_a_warm_up_equals_straight_bit_for_bit(name: str, tmp_path: Path) -> None:
    """In single precision, the usual one, from a checkpoint of the first epoch with steps of α."""
    settings: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 2, "precision": "32-true"}
    strategies = [WarmUp(1), *fresh(name)]
    saver = Save(tmp_path / "middle.ckpt")
    whole = run(copy.deepcopy(strategies), tmp_path, saver, **settings)
    again = search(strategies, seed=99)
    trainer = quiet_trainer(default_root_dir=tmp_path, **{**EXACT, **settings})
    trainer.fit(again, datamodule=whole.data, ckpt_path=saver.path, weights_only=True)
    assert trainer.current_epoch == 3
    assert_equal(whole.module, again)
