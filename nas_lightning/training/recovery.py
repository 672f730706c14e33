"""Checkpoints with finite weights, to which a run can return."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import Trainer

from nas_lightning.errors import CheckpointError, DivergedError
from nas_lightning.training.checkpoints import Last, read_checkpoint
from nas_lightning.training.soundness import first_broken


def sound_checkpoint(
    trainer: Trainer, best_first: bool = False
) -> tuple[str, dict[str, Any]] | None:
    """Return path and content of the first intact checkpoint with finite weights, or `None`.

    Args:
        trainer: Trainer in the middle of a fit.
        best_first: Try the best checkpoint before the last ones instead of after them. The
            checkpoint from which the run was resumed is always tried last.
    """
    for path in _paths(trainer, best_first):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError:
            continue
        if "optimizer_states" in checkpoint and first_broken(checkpoint) is None:
            return _short(path), checkpoint
    return None


DATA = "no learning rate helps against this: find and mend these values in the data"


def advice(trainer: Trainer, error: DivergedError) -> str:
    """Advise what to do about a run that has diverged.

    Args:
        trainer: Trainer in the middle of a fit.
        error: The step that was not finite.
    """
    kept = "the step was not taken and no checkpoint was changed"
    if error.taken:
        kept = "the step was already taken, but no checkpoint was written since"
    if error.data:
        return f"{kept}; {DATA}"
    found = sound_checkpoint(trainer)
    if found is None:
        return f"{kept}; there is no checkpoint yet: start again with a lower learning rate"
    return (
        f"{kept}; start again with a lower learning rate, or resume with --ckpt_path {found[0]} "
        f"--trainer.callbacks+=RollBackOnNaN, which returns to a checkpoint and lowers the rate"
    )


def _paths(trainer: Trainer, best_first: bool) -> Iterator[str]:
    """Yield the existing checkpoints of the run, in order of preference."""
    best, last = (
        [path for callback in trainer.checkpoint_callbacks if (path := getattr(callback, name, ""))]
        for name in ("best_model_path", "last_model_path")
    )
    newest = [*last, *(str(Last(Path(path).parent).previous) for path in last)]
    ordered = [*best, *newest] if best_first else [*newest, *best]
    for path in dict.fromkeys((*ordered, str(trainer.ckpt_path or ""))):
        if path and Path(path).is_file():
            yield path


def _short(path: str) -> str:
    """Return the path relative to the working directory if it lies within."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
