"""What a run can go back to: the checkpoints of a trainer whose weights are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from nas_lightning.errors import CheckpointError
from nas_lightning.training.checkpoints import Last, read_checkpoint


def sound_checkpoint(
    trainer: Trainer, best_first: bool = False
) -> tuple[str, dict[str, Any]] | None:
    """Path and content of the first checkpoint that is whole and finite, or none.

    Args:
        trainer: In the middle of a fit.
        best_first: Look at the best checkpoint before the last ones, else behind them. What the
            run was resumed from comes at the end.
    """
    for path in _paths(trainer, best_first):
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError:
            continue
        if "optimizer_states" in checkpoint and _finite(checkpoint["state_dict"]):
            return _short(path), checkpoint
    return None


def advice(trainer: Trainer, taken: bool = False) -> str:
    """What to do about a run whose numbers are no longer finite.

    Args:
        trainer: In the middle of a fit.
        taken: Whether the step was taken before that was known.
    """
    kept = "the step was not taken and no checkpoint was touched"
    if taken:
        kept = "it was taken before that was known, and no checkpoint was written since"
    found = sound_checkpoint(trainer)
    if found is None:
        return f"{kept}; there is no checkpoint yet: begin again with a lower learning rate"
    return (
        f"{kept}; begin again with a lower learning rate, or go on with --ckpt_path {found[0]} "
        f"--trainer.callbacks+=RollBackOnNaN, which goes back to it and lowers the rate"
    )


def _paths(trainer: Trainer, best_first: bool) -> Iterator[str]:
    """Checkpoints of the run, those to be preferred first."""
    best, last = (
        [path for callback in trainer.checkpoint_callbacks if (path := getattr(callback, name, ""))]
        for name in ("best_model_path", "last_model_path")
    )
    newest = [*last, *(str(Last(Path(path).parent).previous) for path in last)]
    ordered = [*best, *newest] if best_first else [*newest, *best]
    for path in dict.fromkeys((*ordered, str(trainer.ckpt_path or ""))):
        if path and Path(path).is_file():
            yield path


def _finite(weights: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in weights.values())


def _short(path: str) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
