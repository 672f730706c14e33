"""The run directory: one run each, never shared."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas_lightning.errors import UsageError
from nas_lightning.runs.record import RUNNING, last_start
from nas_lightning.slurm.job import SlurmJob
from nas_lightning.training.checkpoints import Last, read_checkpoint

CHECKPOINTS = "checkpoints"
CONFIG = "config.yaml"
LOCK = ".lock"
KEYWORDS = ("last", "best")
AUTO = "auto"
PATIENCE = 10
"""Seconds in which the loading processes of a run that was killed let go of its directory."""


@dataclass(frozen=True)
class Start:
    """From where a fit starts.

    Args:
        checkpoint: The checkpoint that it goes on from; none to begin.
        takes_over: Whether a run that stands in the directory is the same run, even if it has no
            checkpoint yet.
    """

    checkpoint: Path | None
    takes_over: bool


def find_start(run_dir: Path, name: str | None, job: SlurmJob | None) -> Start:
    """What `--ckpt_path` means for a fit.

    Args:
        run_dir: The run directory.
        name: A path, `last`, `best`, `auto` (the last if there is one), or nothing to begin. A
            job that SLURM put back into its queue goes on from its own last checkpoint, whatever
            it was told to begin from.
        job: The job that this process belongs to, if any.

    Raises:
        UsageError: The run directory has no such checkpoint.
        CheckpointError: It is missing, damaged, or not a checkpoint of ours.
    """
    again = job is not None and job.restarts > 0 and last_start(run_dir).get("job") == job.id
    if (again or name in (AUTO, "last")) and (path := _newest(run_dir)) is not None:
        return Start(path, takes_over=True)
    if name == AUTO or (again and name is None):
        return Start(None, takes_over=True)
    if name is None:
        return Start(None, takes_over=False)
    path = find_checkpoint(run_dir, name)
    return Start(path, takes_over=again or run_dir.resolve() in path.resolve().parents)


def _newest(run_dir: Path) -> Path | None:
    """The newest of the last checkpoints that can be read; says what is wrong with a newer one."""
    found = Last(run_dir / CHECKPOINTS).newest()
    if found is None:
        return None
    path, problem = found
    if problem is not None:
        print(f"nas: warning: {problem}; going on from {path}", file=sys.stderr)
    return path


def claim(run_dir: Path, start: Start) -> FileLock:
    """Make the run directory ours, unless it holds another run.

    Args:
        run_dir: The run directory.
        start: From where the run starts.

    Returns:
        The lock that keeps others out; to be released at the end.

    Raises:
        UsageError: It holds another run, is in use by one, or cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the run directory {run_dir}: {error.strerror}") from error
    if not os.access(run_dir, os.W_OK):
        raise UsageError(f"cannot write to {run_dir}: choose another directory by --run_dir")
    lock = _lock(run_dir)
    if (run_dir / CONFIG).exists() and not start.takes_over:
        lock.release()
        go_on = "go on with it by --ckpt_path last, " if has_checkpoint(run_dir) else "remove it, "
        raise UsageError(
            f"{run_dir} already holds a run: {go_on}or choose another directory by --run_dir"
        )
    files = Last(run_dir / CHECKPOINTS)
    if start.checkpoint == files.previous and files.last.exists():
        # out of the way, or it would soon stand in the place of the one that is whole
        files.last.replace(files.last.with_suffix(".damaged"))
    return lock


def _lock(run_dir: Path) -> FileLock:
    lock = FileLock(run_dir / LOCK)
    start = last_start(run_dir)
    try:
        lock.acquire(timeout=0 if _alive(start) else PATIENCE)
    except Timeout as error:
        who = f"process {start['process']} on {start['host']}" if start else "another process"
        raise UsageError(
            f"{run_dir} is in use by a run that goes on ({who}): wait for it or stop it, or "
            f"choose another directory by --run_dir"
        ) from error
    return lock


def _alive(start: dict[str, Any]) -> bool:
    """Whether the process of a start is known to run still."""
    if start.get("outcome") != RUNNING or start["host"] != socket.gethostname():
        return False
    try:
        os.kill(start["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def has_checkpoint(run_dir: Path) -> bool:
    """Whether the run directory holds any checkpoint."""
    return any((run_dir / CHECKPOINTS).glob("*.ckpt"))


def find_checkpoint(run_dir: Path, name: str) -> Path:
    """A checkpoint by path, or `last` or `best` of the run directory, checked to be readable.

    Raises:
        UsageError: The run directory has no such checkpoint.
        CheckpointError: It is missing, damaged, or not a checkpoint of ours.
    """
    if name not in KEYWORDS:
        path = Path(name)
    elif not (path := run_dir / CHECKPOINTS / f"{name}.ckpt").exists():
        raise UsageError(
            f"--ckpt_path {name}: {run_dir} holds no {CHECKPOINTS}/{name}.ckpt; leave the option "
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
