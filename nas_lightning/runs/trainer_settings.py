"""Checks of the trainer's settings, made before anything is built or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jsonargparse import Namespace

from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, Range, at_least, check_value
from nas_lightning.text import shown

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Amount(Range):
    """A number of batches, or a share of them.

    Attributes:
        or_none: True if it may be 0.
    """

    or_none: bool = False

    def __contains__(self, value: object) -> bool:
        """Return True if a value is allowed."""
        if isinstance(value, float) and value > 1 and value.is_integer():
            value = int(value)  # as Lightning reads it
        allowed = Range(high=1, above=True) if isinstance(value, float) else at_least(1)
        return value in allowed or (self.or_none and value == 0 and value is not False)

    def why_not(self, value: object) -> str:
        """Return the end of a message about a value that is not allowed."""
        none = "0, " if self.or_none else ""
        return (
            f"must be {none}a number of batches of at least 1, or a share from above 0.0 to 1.0, "
            f"found {shown(value)}"
        )


FIT: dict[str, Range] = {
    "max_epochs": at_least(1),
    "min_epochs": at_least(0),
    "limit_train_batches": Amount(),
    "limit_val_batches": Amount(or_none=True),
    "val_check_interval": Amount(),
    "check_val_every_n_epoch": at_least(1),
    "num_sanity_val_steps": at_least(-1),
    "log_every_n_steps": at_least(0),
    "accumulate_grad_batches": at_least(1),
    "gradient_clip_val": NOT_NEGATIVE,
    "reload_dataloaders_every_n_epochs": at_least(0),
}
"""Settings that a fit reads → their ranges."""

EVALUATION: dict[str, dict[str, Range]] = {
    "validate": {"limit_val_batches": Amount()},
    "test": {"limit_test_batches": Amount()},
    "predict": {"limit_predict_batches": Amount()},
}
"""Settings that another verb reads → their ranges."""

REFUSED = {
    "max_steps": (-1, "the length of a run is its epochs: use trainer.max_epochs"),
    "min_steps": (None, "the length of a run is its epochs: use trainer.min_epochs"),
    "max_time": (
        None,
        "it would end an epoch early and count it as whole: use `timeout -s TERM 12h nas fit …`, "
        "which saves where it stops, so that the run can be resumed there",
    ),
    "overfit_batches": (
        0.0,
        "it would change the order of the data: use trainer.limit_train_batches, and a data set "
        "with as few samples for validation",
    ),
}
"""Settings that do not fit a run → their default, and what to use in their place."""

BAREBONES = {
    "logger": (None, False),
    "enable_checkpointing": (None, False),
    "enable_progress_bar": (None, False),
    "enable_model_summary": (None, False),
    "log_every_n_steps": (None, 0),
    "num_sanity_val_steps": (None, 0),
    "fast_dev_run": (False, 0),
    "detect_anomaly": (False,),
    "profiler": (None,),
}
"""Settings that `barebones` switches off → the values that agree with it."""


def check_settings(config: Namespace, verb: str) -> None:
    """Check the settings of a run that do not depend on the model or the data.

    Args:
        config: The configuration.
        verb: `fit`, `test`, …

    Raises:
        UsageError: One is missing, out of range, or contradicts another.
    """
    check_value("threads", config.threads, at_least(1, 1024))
    seed = config.seed_everything
    if seed is not False and seed not in at_least(0, LARGEST_SEED):
        raise UsageError(
            f"seed_everything must be a whole number from 0 to {LARGEST_SEED}, or false for "
            f"draws that no run repeats, found {str(seed).lower()}"
        )
    for name, wanted in (FIT if verb == "fit" else EVALUATION[verb]).items():
        check_value(f"trainer.{name}", config.trainer[name], wanted)
    if config.trainer.barebones:
        _check_barebones(config.trainer)
    if verb == "fit" and not config.trainer.fast_dev_run:
        _check_length(config.trainer)


def _check_barebones(trainer: Namespace) -> None:
    for name, agreeing in BAREBONES.items():
        if trainer[name] not in agreeing:
            raise UsageError(
                f"trainer.barebones switches {name} off: leave trainer.{name} out, or set "
                f"trainer.barebones to false"
            )


def _check_length(trainer: Namespace) -> None:
    for name, (default, advice) in REFUSED.items():
        if trainer[name] != default:
            raise UsageError(f"trainer.{name} cannot be set: {advice}")
    if trainer.max_epochs is None:
        raise UsageError(
            "trainer.max_epochs is not set, and the schedules need the length of the run: set "
            "--trainer.max_epochs"
        )
    if trainer.min_epochs is not None and trainer.min_epochs > trainer.max_epochs:
        raise UsageError(
            f"trainer.min_epochs {trainer.min_epochs} is more than trainer.max_epochs "
            f"{trainer.max_epochs}: lower it"
        )


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """Return the number of whole epochs in a checkpoint."""
    done: int = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return done


def check_length(checkpoint: dict[str, Any], max_epochs: int) -> bool:
    """Check that a run has epochs left, and print that it has none.

    Args:
        checkpoint: Content of the checkpoint that it resumes from.
        max_epochs: Number of epochs of the run.

    Returns:
        True if epochs are left.

    Raises:
        UsageError: The checkpoint has more epochs than the run.
    """
    done = epochs_done(checkpoint)
    if done > max_epochs:
        raise UsageError(
            f"the checkpoint has {done} epochs, more than trainer.max_epochs {max_epochs}: set "
            f"--trainer.max_epochs to more than {done} to train on"
        )
    return done < max_epochs
