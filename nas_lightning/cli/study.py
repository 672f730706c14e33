"""`nas study`: run what is left of a study, and report."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from nas_lightning.callbacks.graceful_stop import RunInterruptedError
from nas_lightning.cli.report import report_study
from nas_lightning.cli.study_options import Given
from nas_lightning.errors import UsageError
from nas_lightning.runs.command import quiet
from nas_lightning.runs.exit import interrupted
from nas_lightning.studies.lines import run_line
from nas_lightning.studies.plan import Study
from nas_lightning.studies.prepare import prepare
from nas_lightning.studies.processes import LanesStoppedError, run_lanes
from nas_lightning.studies.progress import Line, Progress, count, lines
from nas_lightning.studies.results import Results, read_results

LOCK = ".lock"


def run_study(given: Given) -> int:
    """Run what is left of a study, and report.

    Returns:
        0, 1 if a run failed, 130 if it was interrupted.

    Raises:
        UsageError: The plan is wrong, or the folder holds another study or is in use.
    """
    quiet()
    folder = given.folder
    with _claim(folder):
        study = prepare(folder, given.study)
        left = [line for line in lines(study) if _is_left(folder, study, line, given.retry_failed)]
        if given.slurm is not None and left:
            from nas_lightning.studies.job_array import submit_lines

            print(submit_lines(folder, left, given.retry_failed, given.slurm, given.at_once))
            return 0
        try:
            died = run_lanes(
                partial(run_here, folder, given.retry_failed),
                left,
                environments(given.jobs),
                _Display(Progress(folder, study, left)).show,
            )
        except (LanesStoppedError, RunInterruptedError):  # a lane may say so first
            print(f"\nnas: {folder} is stopped; the same command goes on with it", file=sys.stderr)
            return interrupted()
        results = read_results(folder)
        print(f"\n\n{report_study(folder)}")
        return _say_failures(results, died)


def _claim(folder: Path) -> AbstractContextManager[object]:
    """Hold the folder of the study for this process, as long as the context lasts.

    Raises:
        UsageError: Another one holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"{folder} is in use by another nas study: wait for it or stop it"
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}; choose another --dir"
        ) from error


def run_here(folder: Path, retry: bool, line: Line) -> None:
    """What a lane does with a line: its output goes to a file."""
    path = folder / "logs" / f"{line.method}_{line.seed}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    quiet()
    run_line(folder, line, retry)


def environments(jobs: int | None) -> list[dict[str, str]]:
    """The variables of each lane: its share of the cores, and a GPU of its own where there are any.

    Args:
        jobs: Number of lanes; none for one for each GPU, or one.
    """
    number = torch.cuda.device_count()
    jobs = jobs or max(number, 1)
    threads = max(1, cores() // jobs)
    shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(number)))).split(",")
    if not number:
        return [shared] * jobs
    return [{**shared, "CUDA_VISIBLE_DEVICES": named[lane % number]} for lane in range(jobs)]


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_left(folder: Path, study: Study, line: Line, retry: bool) -> bool:
    searches, retrains = count(folder, study, [line])
    failed = searches.failed + retrains.failed
    return searches.open + retrains.open + (failed if retry else 0) > 0


class _Display:
    """Shows the progress: one line that changes on a terminal, else a line when a run has ended."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.said = ""

    def show(self, running: set[Line]) -> None:
        """Show it."""
        text = self.progress.text(running)
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            print(f"\r{text[: width - 1]:<{width - 1}}", end="", flush=True)
        elif (done := text.partition(" runs done")[0]) != self.said:
            print(text, flush=True)
            self.said = done


def _say_failures(results: Results, died: list[Line]) -> int:
    """Say which runs failed; the exit code."""
    for line in died:
        why = "died twice, usually for lack of memory: the same command tries it once more"
        print(f"nas: the process of {line} {why}", file=sys.stderr)
    failed = [run for run in results.runs if run.failures]
    for run in failed:
        print(f"nas: {run.method} {run.seed} failed: {'; '.join(run.failures)}", file=sys.stderr)
    if failed:
        print("nas: the same command with --retry-failed tries them once more", file=sys.stderr)
    return 1 if failed or died else 0
