"""The run directory: each holds one run and is never shared."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas_lightning.errors import UsageError
from nas_lightning.files import is_there
from nas_lightning.runs.record_file import RUNNING, last_start
from nas_lightning.slurm.job import SlurmJob
from nas_lightning.training.checkpoints import Last, read_checkpoint

CHECKPOINTS = "checkpoints"
CONFIG = "config.yaml"
LOCK = ".lock"
KEYWORDS = ("last", "best")
AUTO = "auto"
PATIENCE = 10
"""Seconds to wait until the loading processes of a killed run release its directory."""


@dataclass(frozen=True)
class Start:
    """The start of a fit.

    Args:
        checkpoint: The checkpoint that it resumes from; `None` means from the beginning.
        takes_over: True if the run in the directory is this one, even if it has no checkpoint yet.
        content: Content of the checkpoint.
    """

    checkpoint: Path | None
    takes_over: bool
    content: dict[str, Any] | None = field(default=None, compare=False, repr=False)


def checkpoint_folder(run_dir: str) -> str:
    """Return the folder of a run's checkpoints."""
    return str(Path(run_dir) / CHECKPOINTS)


def find_start(run_dir: Path, name: str | None, job: SlurmJob | None) -> Start:
    """Return the start that `--ckpt_path` means for a fit.

    Args:
        run_dir: The run directory.
        name: A path, `last`, `best`, `auto` (the last if there is one), or `None` for the
            beginning. A requeued SLURM job resumes from its own last checkpoint, whatever this
            option says.
        job: The job that this process belongs to, if any.

    Raises:
        UsageError: The run directory has no such checkpoint.
        CheckpointError: It is missing, damaged, or not a checkpoint of nas-lightning.
    """
    again = job is not None and job.restarts > 0 and last_start(run_dir).get("job") == job.id
    if (again or name in (AUTO, "last")) and (found := _newest(run_dir)) is not None:
        return Start(found[0], takes_over=True, content=found[1])
    if name == AUTO or (again and name is None):
        return Start(None, takes_over=True)
    if name is None:
        return Start(None, takes_over=False)
    path, content = find_checkpoint(run_dir, name)
    own = run_dir.resolve() in path.resolve().parents
    return Start(path, takes_over=again or own, content=content)


def _newest(run_dir: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest last checkpoint that is whole; warn if a newer one is damaged."""
    found = Last(run_dir / CHECKPOINTS).newest()
    if found is None:
        return None
    path, content, problem = found
    if problem is not None:
        print(f"nas: warning: {problem}; resuming from {path}", file=sys.stderr)
    return path, content


@dataclass(frozen=True)
class Claim:
    """A run directory that this process holds for a run.

    Args:
        lock: The lock that excludes other runs.
        made: The folders that were made for it, the innermost first.
    """

    lock: FileLock
    made: tuple[Path, ...] = ()

    def release(self) -> None:
        """Release it; remove folders that were made for it and stayed empty."""
        if self.made and [path.name for path in self.made[0].iterdir()] == [LOCK]:
            # still locked: another start that waits for the file makes a new one
            (self.made[0] / LOCK).unlink()
            with contextlib.suppress(OSError):  # not empty any more
                for folder in self.made:
                    folder.rmdir()
        self.lock.release()


def claim(run_dir: Path, start: Start) -> Claim:
    """Claim the run directory, unless it holds another run.

    Args:
        run_dir: The run directory.
        start: The start of the run.

    Returns:
        The claim; release it at the end.

    Raises:
        UsageError: It holds another run, is in use by one, or cannot be written.
    """
    made = tuple(path for path in (run_dir, *run_dir.parents) if not is_there(path))
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the run directory {run_dir}: {error.strerror}") from error
    if not os.access(run_dir, os.W_OK):
        raise UsageError(f"cannot write to {run_dir}: choose another directory by --run_dir")
    claimed = Claim(_lock(run_dir), made)
    if is_there(run_dir / CONFIG) and not start.takes_over:
        claimed.release()
        advice = "resume it by --ckpt_path last, " if has_checkpoint(run_dir) else "remove it, "
        raise UsageError(
            f"{run_dir} already holds a run: {advice}or choose another directory by --run_dir"
        )
    return claimed


def set_aside(run_dir: Path, start: Start) -> None:
    """Rename a damaged `last.ckpt` if the run resumes from the one before.

    Otherwise the next checkpoint would rename it to `previous.ckpt`, over the whole one.
    """
    files = Last(run_dir / CHECKPOINTS)
    if start.checkpoint == files.previous and files.last.exists():
        files.last.replace(files.last.with_suffix(".damaged"))


def _lock(run_dir: Path) -> FileLock:
    lock = FileLock(run_dir / LOCK)
    start = last_start(run_dir)
    try:
        lock.acquire(timeout=0 if _alive(start) else PATIENCE)
    except Timeout as error:
        who = f"process {start['process']} on {start['host']}" if start else "another process"
        raise UsageError(
            f"{run_dir} is in use by a run ({who}): wait for it or stop it, or "
            f"choose another directory by --run_dir"
        ) from error
    return lock


def _alive(start: dict[str, Any]) -> bool:
    """Return True if the process of a start is known to be running."""
    if start.get("outcome") != RUNNING or start["host"] != socket.gethostname():
        return False
    try:
        os.kill(start["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def has_checkpoint(run_dir: Path) -> bool:
    """Return True if the run directory holds any checkpoint."""
    folder = run_dir / CHECKPOINTS
    return is_there(folder) and any(path.suffix == ".ckpt" for path in folder.iterdir())


def find_checkpoint(run_dir: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Find a checkpoint by its path, or `last` or `best`, and read it.

    Returns:
        Its path and its content.

    Raises:
        UsageError: The run directory has no such checkpoint.
        CheckpointError: It is missing, damaged, or not a checkpoint of nas-lightning.
    """
    if name not in KEYWORDS:
        path = Path(name)
    elif not is_there(path := run_dir / CHECKPOINTS / f"{name}.ckpt"):
        raise UsageError(
            f"--ckpt_path {name}: {run_dir} holds no {CHECKPOINTS}/{name}.ckpt; leave the option "
            f"out to start from the beginning"
        )
    return path, read_checkpoint(path)


def default_checkpoint(run_dir: Path) -> str:
    """Return the name of the checkpoint that evaluation uses by default: the best, else the last.

    Raises:
        UsageError: The run directory holds neither.
    """
    for name in reversed(KEYWORDS):
        if is_there(run_dir / CHECKPOINTS / f"{name}.ckpt"):
            return name
    raise UsageError(f"{run_dir} holds no checkpoint: name one by --ckpt_path, or run fit first")
