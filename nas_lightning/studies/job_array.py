"""A study as a job array of SLURM: a job for each line, and one behind them that reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nas_lightning.runs.command import quiet
from nas_lightning.runs.exit import report
from nas_lightning.slurm.batch_script import Request
from nas_lightning.slurm.submit import SubmitError, configured
from nas_lightning.studies.lines import run_line
from nas_lightning.studies.progress import Line
from nas_lightning.studies.report import write_report


def submit_lines(
    folder: Path, lines: Sequence[Line], retry: bool, request: Request, at_once: int | None = None
) -> str:
    """Hand the lines of a study to SLURM.

    Args:
        folder: The study's folder, which all nodes see.
        lines: What is left to be done.
        retry: Try runs that failed once more.
        request: What each job of the array asks for.
        at_once: How many of them run at a time; none for all.

    Returns:
        What there is to say: number of the array, logs, how to look and how to stop it.

    Raises:
        UsageError: submitit or SLURM is not installed here.
        SubmitError: SLURM refused.
    """
    folder = folder.resolve()
    array = configured(request, slurm_array_parallelism=at_once or len(lines))
    report_alone = replace(request, name=f"{request.name}-report", gpus=0, cpus=1)
    with SubmitError.of_slurm():
        jobs = array.map_array(partial(run_in_job, folder, retry), lines)
        number = jobs[0].job_id.partition("_")[0]
        behind = configured(report_alone, slurm_dependency=f"afterany:{number}")
        last = behind.submit(write_report, folder)
    return (
        f"{'array':<24} {number}, {len(lines)} jobs; {last.job_id} reports behind them\n"
        f"{'logs':<24} {request.logs}\n"
        f"{'look':<24} squeue --job {number}; nas report {folder}\n"
        f"{'stop, and save':<24} scancel --signal=TERM {number}\n"
        f"{'go on':<24} the same command"
    )


def run_in_job(folder: Path, retry: bool, line: Line) -> None:
    """What submitit calls in a job of the array.

    Raises:
        SystemExit: The run was stopped or requeued; its message is in the log.
    """
    quiet()
    try:
        run_line(folder, line, retry)
    except Exception as error:  # noqa: BLE001 (the last resort of a program)
        sys.exit(report(error))
