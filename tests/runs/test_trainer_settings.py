"""Settings of the trainer that do not fit a run are refused before anything is built."""

import inspect
from datetime import timedelta
from typing import Any

import pytest
from jsonargparse import Namespace
from lightning import Trainer

from nas_lightning.errors import UsageError
from nas_lightning.runs.trainer_settings import check_length, check_settings


def config(**given: Any) -> Namespace:
    """Return a configuration with Lightning's defaults, three epochs, and these values."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(Trainer.__init__).parameters.items()
        if name != "self"
    }
    run = {"threads": None, "seed_everything": 0}
    run |= {name: given.pop(name) for name in list(given) if name in run}
    assert given.keys() <= defaults.keys()
    trainer = Namespace(**{**defaults, "max_epochs": 3, **given})  # type: ignore[no-untyped-call] # of jsonargparse
    return Namespace(**run, trainer=trainer)  # type: ignore[no-untyped-call] # of jsonargparse


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_epochs": None}, "max_epochs is not set.* set --trainer.max_epochs"),
    *[({"max_epochs": value}, "max_epochs must be .*at least 1") for value in (0, -1, True)],
    ({"min_epochs": 4}, "min_epochs 4 is more than trainer.max_epochs 3"),
    ({"min_epochs": -1}, "min_epochs must be"),
    ({"max_steps": 100}, "max_steps cannot be set: .* use trainer.max_epochs"),
    ({"min_steps": 1}, "min_steps cannot be set"),
    ({"max_time": "00:00:10:00"}, "max_time cannot be set: .* use `timeout"),
    ({"max_time": timedelta(1)}, "max_time cannot be set"),
    ({"overfit_batches": 2}, "overfit_batches cannot be set: .* use trainer.limit_train_batches"),
    *[({"limit_train_batches": v}, "limit_train_batches must be")
      for v in (0, 0.0, -1, 1.5, True, float("nan"))],
    *[({"limit_val_batches": v}, "limit_val_batches must be") for v in (-1, -0.5, 2.5)],
    *[({"val_check_interval": v}, "val_check_interval must be")
      for v in (0, 0.0, -2, 1.5, "00:00:10", timedelta(1), {"hours": 1})],
    *[({"check_val_every_n_epoch": v}, "check_val_every_n_epoch must be") for v in (0, -1)],
    ({"num_sanity_val_steps": -2}, "num_sanity_val_steps must be"),
    ({"log_every_n_steps": -1}, "log_every_n_steps must be"),
    ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be"),
    *[({"gradient_clip_val": v}, "gradient_clip_val must be") for v in (-1, float("nan"))],
    ({"reload_dataloaders_every_n_epochs": -1}, "reload_dataloaders_every_n_epochs must be"),
    *[({"threads": v}, "threads must be at least 1") for v in (0, -2)],
    *[({"seed_everything": v}, "seed_everything must be") for v in (-1, 2**32, True)],
    ({"barebones": True, "logger": True}, "barebones switches logger off: leave trainer.logger"),
    ({"barebones": True, "profiler": "simple"}, "barebones switches profiler off"),
]  # fmt: skip
TAKEN: list[dict[str, Any]] = [
    {},
    {"limit_val_batches": 0, "limit_train_batches": 0.5, "num_sanity_val_steps": -1},
    {"limit_train_batches": 2.0},
    {"val_check_interval": 2, "check_val_every_n_epoch": None, "log_every_n_steps": 0},
    {"min_epochs": 3, "gradient_clip_val": 0, "threads": 1, "seed_everything": False},
    {"fast_dev_run": True, "max_epochs": None},
    {"barebones": True, "enable_checkpointing": False},
    {"seed_everything": 2**32 - 1},
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        check_settings(config(**given), "fit")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", TAKEN)
def test_taken(given: dict[str, Any]) -> None:
    check_settings(config(**given), "fit")


@pytest.mark.parametrize(
    ("verb", "name"), [("test", "test"), ("validate", "val"), ("predict", "predict")]
)
def test_evaluation_needs_a_batch_and_no_number_of_epochs(verb: str, name: str) -> None:
    check_settings(config(max_epochs=None), verb)
    with pytest.raises(UsageError, match=f"limit_{name}_batches must be"):
        check_settings(config(**{f"limit_{name}_batches": 0}), verb)


def test_a_checkpoint_beyond_the_end_of_a_run_is_refused() -> None:
    progress = {"current": {"processed": 3}}
    checkpoint = {"loops": {"fit_loop": {"epoch_progress": progress}}}
    assert check_length(checkpoint, 4)
    assert not check_length(checkpoint, 3)
    with pytest.raises(UsageError, match=r"has 3 epochs, .*max_epochs 2: .* to more than 3"):
        check_length(checkpoint, 2)
