"""The run of a study: here in several processes, or as a job array of SLURM."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from nas_lightning.display import Display, clock
from nas_lightning.errors import UsageError
from nas_lightning.runs.exit import requeue_or_stop
from nas_lightning.runs.quiet import quiet
from nas_lightning.slurm.batch_script import Request
from nas_lightning.studies.job_array import submit_lines
from nas_lightning.studies.lines import run_line
from nas_lightning.studies.plan import Study
from nas_lightning.studies.prepare import begin, prepare
from nas_lightning.studies.processes import ProcessesStoppedError, run_in_processes
from nas_lightning.studies.progress import Line, Progress, count, lines
from nas_lightning.studies.results import Results, read_results
from nas_lightning.studies.summary import report_study

LOCK = ".lock"


def run_study(
    folder: Path,
    study: Study,
    jobs: int | None = None,
    retry_failed: bool = False,
    slurm: Request | None = None,
    at_once: int | None = None,
) -> int:
    """Run the rest of a study, and report.

    Args:
        folder: The study's folder.
        study: Its plan, not checked yet.
        jobs: Number of processes; `None` means one for each GPU, or one.
        retry_failed: Try runs that failed once more.
        slurm: Request of each job of a SLURM job array; `None` means to run here.
        at_once: Jobs of the array that run at a time; `None` means all.

    Returns:
        0, or 1 if a run failed.

    Raises:
        RunInterruptedError: A signal stopped the study; `RunRequeuedError` if its job was requeued.
        UsageError: The plan is wrong, or the folder holds another study or is in use.
    """
    quiet()
    prepared = prepare(study)  # before the folder is made
    with _claim(folder):
        study = begin(folder, prepared)
        left = [line for line in lines(study) if _is_left(folder, study, line, retry_failed)]
        if slurm is not None and left:
            print(submit_lines(folder, left, retry_failed, slurm, at_once))
            return 0
        try:
            with Display() as display:
                died = run_in_processes(
                    partial(run_here, folder, retry_failed),
                    left,
                    environments(jobs),
                    Watch(Progress(folder, study, left), display).show,
                )
        except ProcessesStoppedError as stop:
            requeue_or_stop(stop.number, f"{folder} is stopped", "the same command resumes it")
        results = read_results(folder)
        print(f"\n{report_study(folder)}")
        return _report_failures(results, died)


def _claim(folder: Path) -> AbstractContextManager[object]:
    """Lock the folder of the study for this process, as long as the context lasts.

    Raises:
        UsageError: Another process holds it, or it cannot be made.
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
    """Run a line in this process, with its output written to a file."""
    path = folder / "logs" / f"{line.method}_{line.seed}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    quiet()
    run_line(folder, line, retry)


def environments(jobs: int | None) -> list[dict[str, str]]:
    """Return the variables of each process: its share of the cores, and its GPU if there are any.

    Args:
        jobs: Number of processes; `None` means one for each GPU, or one.
    """
    gpus = torch.cuda.device_count()
    jobs = jobs or max(gpus, 1)
    threads = max(1, cores() // jobs)
    shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
    named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
    if not gpus:
        return [shared] * jobs
    return [{**shared, "CUDA_VISIBLE_DEVICES": named[number % gpus]} for number in range(jobs)]


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_left(folder: Path, study: Study, line: Line, retry: bool) -> bool:
    searches, retrains = count(folder, study, [line])
    failed = searches.failed + retrains.failed
    return searches.open + retrains.open + (failed if retry else 0) > 0


class Watch:
    """Shows the progress: a bar below a line for each ended line of runs, or a line for each run.

    Args:
        progress: The progress.
        display: The terminal, or a file.
    """

    def __init__(self, progress: Progress, display: Display) -> None:
        self.progress, self.display = progress, display
        self._shown = (-1, -1)
        self._began: dict[Line, float] = {}

    def show(self, running: set[Line]) -> None:
        """Show the progress, with these lines at work."""
        state = self.progress.now(running)
        if not self.display.terminal:
            if (state.ended, state.total) != self._shown:
                self.display.line(str(state))
                self._shown = (state.ended, state.total)
            return
        for line in [line for line in self._began if line not in running]:
            self.display.line(self._ended(line, self._began.pop(line)))
        now = time.monotonic()
        self._began = dict.fromkeys(running, now) | self._began
        self.display.show(state.bar())

    def _ended(self, line: Line, began: float) -> str:
        searches, retrains = count(self.progress.folder, self.progress.study, [line])
        done, failed = len(searches.ended + retrains.ended), searches.failed + retrains.failed
        bad = f", {failed} failed" if failed else ""
        runs = "run" if done == 1 else "runs"
        return f"{line}  {done} {runs} done{bad}  {clock(time.monotonic() - began)}"


def _report_failures(results: Results, died: list[Line]) -> int:
    """Print the runs that failed, and return the exit code."""
    for line in died:
        why = "died twice, usually for lack of memory: the same command tries it once more"
        print(f"nas: the process of {line} {why}", file=sys.stderr)
    failed = [run for run in results.runs if run.failures]
    for run in failed:
        print(f"nas: {run.method} {run.seed} failed: {'; '.join(run.failures)}", file=sys.stderr)
    if failed:
        print("nas: the same command with --retry-failed tries them once more", file=sys.stderr)
    return 1 if failed or died else 0
