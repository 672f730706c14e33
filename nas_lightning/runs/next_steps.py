"""Commands that a run prints for its user to copy: go on, test, retrain."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from nas_lightning.runs.directory import CONFIG
from nas_lightning.slurm.job import active_job

LAUNCHERS = ("TORCHELASTIC_RUN_ID",)
"""Variables of launchers that must start the processes again."""


def program(name: str = "nas") -> str:
    """Return a command of this installation as it can be typed here.

    It is the bare name if the shell finds this installation by it, else the path, relative to the
    working directory if it is below it.
    """
    path = Path(sys.prefix) / "bin" / name
    if not path.exists() or shutil.which(name) == str(path):
        return name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command(*arguments: str | Path) -> str:
    """Return a `nas` command for a shell, with every argument quoted that needs it."""
    return shlex.join([program(), *map(str, arguments)])


def resume_command(run_dir: Path) -> str:
    """Return the command that resumes a run from its last checkpoint.

    A launcher, such as torchrun or a job of SLURM, must itself be started again.
    """
    if active_job() is not None or any(name in os.environ for name in LAUNCHERS):
        return "the same command and --ckpt_path last"
    return command("fit", "--config", run_dir / CONFIG, "--ckpt_path", "last")


def test_command(run_dir: Path) -> str:
    """Return the command that tests the best checkpoint of a run, or the last without a best."""
    return command("test", "--config", run_dir / CONFIG)
