"""A line of a study inside a job of SLURM.

Nothing slow is imported here: signals are received before anything else is done.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from nas_lightning import printing, signals
from nas_lightning.runs.exit import early_signals, exit_code
from nas_lightning.signals import Inbox


def run_in_job(folder: Path, retry: bool, method: str, seed: int) -> None:
    """Run a line in a job of the array; submitit calls it.

    Args:
        folder: The study's folder.
        retry: Try runs that failed once more.
        method: Name of the method, or `random`.
        seed: Seed of the search, or number of the random cell.

    Raises:
        SystemExit: The run was stopped or requeued, or failed; its message is in the log.
    """
    with signals.received(Inbox(at_once=False)):
        printing.protect()
        code = exit_code(partial(_run, folder, retry, method, seed))
    if code:
        sys.exit(code)


def _run(folder: Path, retry: bool, method: str, seed: int) -> None:
    with early_signals(f"{method} {seed}", "the command of the study resumes it"):
        from nas_lightning.runs.quiet import quiet
        from nas_lightning.studies.lines import run_line
        from nas_lightning.studies.progress import Line

        quiet()
        run_line(folder, Line(method, seed), retry)
