"""The run directory: one run each, never shared."""

from __future__ import annotations

from pathlib import Path

from nas_lightning.checkpoints import read_checkpoint
from nas_lightning.errors import UsageError

CHECKPOINTS = "checkpoints"
KEYWORDS = ("last", "best")


def claim(run_dir: Path, checkpoint: Path | None) -> None:
    """Make the run directory ours, unless it holds another run.

    Args:
        run_dir: The run directory.
        checkpoint: The checkpoint that the run goes on from, if any.

    Raises:
        UsageError: It holds a run and the checkpoint is not that run's, or it cannot be made.
    """
    resumes = checkpoint is not None and run_dir.resolve() in checkpoint.resolve().parents
    if (run_dir / "config.yaml").exists() and not resumes:
        raise UsageError(
            f"{run_dir} already holds a run: go on with it by --ckpt_path last, or choose another "
            f"directory by --run_dir"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the run directory {run_dir}: {error}") from error


def find_checkpoint(run_dir: Path, name: str) -> Path:
    """A checkpoint by path, or `last` or `best` of the run directory, checked to be readable.

    Raises:
        CheckpointError: It is missing, truncated, or not a checkpoint of ours.
    """
    path = run_dir / CHECKPOINTS / f"{name}.ckpt" if name in KEYWORDS else Path(name)
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
