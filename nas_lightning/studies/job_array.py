"""A study as a job array of SLURM: one job for each line, and one after them that reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nas_lightning.slurm.batch_script import Request
from nas_lightning.slurm.submit import SubmitError, configured
from nas_lightning.studies.line_job import run_in_job
from nas_lightning.studies.progress import Line
from nas_lightning.studies.report import write_report


def submit_lines(
    folder: Path, lines: Sequence[Line], retry: bool, request: Request, at_once: int | None = None
) -> str:
    """Submit the lines of a study to SLURM.

    Args:
        folder: The study's folder, which all nodes must see.
        lines: The lines to run.
        retry: Try runs that failed once more.
        request: Request of each job of the array.
        at_once: Number of jobs that run at a time; `None` means all.

    Returns:
        The number of the array, its logs, and the commands to watch, stop and resume it.

    Raises:
        UsageError: submitit or SLURM is not installed here.
        SubmitError: SLURM refused.
    """
    folder = folder.resolve()
    array = configured(request, slurm_array_parallelism=at_once or len(lines))
    report_alone = replace(request, name=f"{request.name}-report", gpus=0, cpus=1)
    with SubmitError.of_slurm():
        whose = ([line.method for line in lines], [line.seed for line in lines])
        jobs = array.map_array(partial(run_in_job, folder, retry), *whose)
        number = jobs[0].job_id.partition("_")[0]
        after = configured(report_alone, slurm_dependency=f"afterany:{number}")
        last = after.submit(write_report, folder)
    return (
        f"{'array':<24} {number}, {len(lines)} jobs; {last.job_id} reports after them\n"
        f"{'logs':<24} {request.logs}\n"
        f"{'look':<24} squeue --job {number}; nas report {folder}\n"
        f"{'stop, and save':<24} scancel --signal=TERM {number}\n"
        f"{'resume':<24} the same command"
    )
