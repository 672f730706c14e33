"""The run directory: one run each, never shared."""

from __future__ import annotations

import os
from pathlib import Path

from nas_lightning.checkpoints import read_checkpoint
from nas_lightning.errors import UsageError

CHECKPOINTS = "checkpoints"
CONFIG = "config.yaml"
KEYWORDS = ("last", "best")


def claim(run_dir: Path, checkpoint: Path | None) -> None:
    """Make the run directory ours, unless it holds another run.

    Args:
        run_dir: The run directory.
        checkpoint: The checkpoint that the run goes on from, if any.

    Raises:
        UsageError: It holds a run and the checkpoint is not that run's, or it cannot be written.
    """
    resumes = checkpoint is not None and run_dir.resolve() in checkpoint.resolve().parents
    if (run_dir / CONFIG).exists() and not resumes:
        go_on = "go on with it by --ckpt_path last, " if has_checkpoint(run_dir) else "remove it, "
        raise UsageError(
            f"{run_dir} already holds a run: {go_on}or choose another directory by --run_dir"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the run directory {run_dir}: {error.strerror}") from error
    if not os.access(run_dir, os.W_OK):
        raise UsageError(f"cannot write to {run_dir}: choose another directory by --run_dir")


def has_checkpoint(run_dir: Path) -> bool:
    """Whether the run directory holds any checkpoint."""
    return any((run_dir / CHECKPOINTS).glob("*.ckpt"))


def find_checkpoint(run_dir: Path, name: str) -> Path:
    """A checkpoint by path, or `last` or `best` of the run directory, checked to be readable.

    Raises:
        UsageError: The run directory has no such checkpoint.
        CheckpointError: It is missing, truncated, or not a checkpoint of ours.
    """
    if name not in KEYWORDS:
        path = Path(name)
    elif not (path := run_dir / CHECKPOINTS / f"{name}.ckpt").exists():
        raise UsageError(
            f"--ckpt_path {name}: {run_dir} holds no {CHECKPOINTS}/{path.name}; leave the option "
            f"out to start from the beginning"
        )
    read_checkpoint(path)
    return path


def default_checkpoint(run_dir: Path) -> Path:
    """The checkpoint that evaluation uses if none is named: the best, else the last.

    Raises:
        UsageError: The run directory holds neither.
    """
    for name in reversed(KEYWORDS):
        path = run_dir / CHECKPOINTS / f"{name}.ckpt"
        if path.exists():
            return path
    raise UsageError(f"{run_dir} holds no checkpoint: name one by --ckpt_path, or run fit first")
