"""A study as a job array of SLURM: a job for each line, and one behind them that reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nas_lightning.cli.lightning import quiet
from nas_lightning.cli.main import report
from nas_lightning.cli.study_runs import run_line
from nas_lightning.cli.submit import SubmitError, open_executor
from nas_lightning.studies.progress import Line
from nas_lightning.studies.report import write_report

LEAD = 300
"""Seconds ahead of its time limit at which a job saves and goes back into the queue."""


def submit_lines(folder: Path, lines: Sequence[Line], retry: bool, options: dict[str, Any]) -> str:
    """Hand the lines of a study to SLURM.

    Args:
        folder: The study's folder, which all nodes see.
        lines: What is left to be done.
        retry: Try runs that failed once more.
        options: `partition`, `account`, `time`, `gpus`, `cpus_per_task`, `mem`, `at_once`.

    Returns:
        What there is to say: number of the array, logs, how to look and how to stop it.

    Raises:
        UsageError: submitit or SLURM is not installed here.
        SubmitError: SLURM refused.
    """
    folder = folder.resolve()
    executor = open_executor(folder / "logs")
    asked = {
        "partition": options["partition"],
        "account": options["account"],
        "mem": options["mem"],
        "gpus-per-node": options["gpus"] or None,
        "time": options["time"],
        "signal": f"USR1@{LEAD}",
    }
    more = {name: str(value) for name, value in asked.items() if value is not None}
    shared = {"nodes": 1, "tasks_per_node": 1, "slurm_stderr_to_stdout": True}
    executor.update_parameters(
        **shared,
        name=folder.name,
        cpus_per_task=options["cpus_per_task"],
        slurm_array_parallelism=options["at_once"] or len(lines),
        slurm_additional_parameters={**more, "requeue": True, "open-mode": "append"},
    )
    with SubmitError.of_slurm():
        jobs = executor.map_array(partial(run_in_job, folder, retry), lines)
        number = jobs[0].job_id.partition("_")[0]
        behind = {**more, "dependency": f"afterany:{number}"}
        behind.pop("gpus-per-node", None)  # a report needs none
        executor.update_parameters(
            **shared,
            name=f"{folder.name}-report",
            cpus_per_task=1,
            slurm_additional_parameters=behind,
        )
        last = executor.submit(write_report, folder)
    return (
        f"{'array':<24} {number}, {len(lines)} jobs; {last.job_id} reports behind them\n"
        f"{'logs':<24} {folder / 'logs'}\n"
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
