"""Exit codes of the command line, and the message that goes with each."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from nas_lightning import signals
from nas_lightning.errors import NASError
from nas_lightning.runs.failures import explain, root_cause
from nas_lightning.signals import REQUEUE, RunInterruptedError, RunRequeuedError, Stopped
from nas_lightning.slurm.job import active_job, requeue
from nas_lightning.text import one_line, reason

WHERE = "NAS_DEBUG=1 before the command shows where"
"""Advice for an error that nobody expected."""


def exit_code(command: Callable[[], int | None]) -> int:
    """Call a command and return its exit code, with one message if it fails.

    Args:
        command: Returns its exit code; `None` means 0.
    """
    try:
        with signals.attended():
            return command() or 0
    except SystemExit as stop:  # argparse's help, or Ctrl-C as Lightning passes it on
        if isinstance(stop.__context__, KeyboardInterrupt):
            return interrupted(signal.SIGINT)
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return interrupted(signal.SIGINT)
    except (Exception, Stopped) as error:  # noqa: BLE001 (the last resort of a program)
        if number := signals.stopped_by(error):
            return interrupted(number)
        return report(error)


def interrupted(number: int) -> int:
    """Print that a signal stopped the command, and return the exit code.

    Args:
        number: Number of the signal.
    """
    if first_process():
        ctrl_c = number == signal.SIGINT
        print("nas: interrupted" if ctrl_c else f"nas: stopped by {_name(number)}", file=sys.stderr)
    return signals.exit_code_of(number)


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextmanager
def early_signals(what: str, advice: str) -> Iterator[None]:
    """Explain a signal that comes when there is nothing to save, and requeue a SLURM job.

    Args:
        what: What the signal stops, such as `the study`.
        advice: How to go on.

    Raises:
        RunInterruptedError: A signal came.
        RunRequeuedError: The signal was one that requeues, and the job is in the queue again.
        RequeueError: SLURM did not requeue the job.
    """
    job = active_job()
    inbox = signals.current()
    if inbox is not None and job is not None and job.batch and not first_process():
        # the first process requeues the job; if another one ended before, SLURM would end it too
        inbox.deferred = REQUEUE
    try:
        yield
    except (Exception, Stopped) as error:
        number = signals.stopped_by(error)
        if not number:
            raise
        if inbox is not None:
            inbox.handled = True
        requeue_or_stop(number, f"{_name(number)} stopped {what}", advice)


def requeue_or_stop(number: int, where: str, advice: str) -> NoReturn:
    """Requeue the SLURM job if a signal asks for it, and end this command.

    Args:
        number: Number of the signal.
        where: What was stopped, and where.
        advice: How to go on.

    Raises:
        RunInterruptedError: The job was not to be requeued.
        RunRequeuedError: It is in the queue again.
        RequeueError: SLURM did not requeue it.
    """
    job = active_job()
    if number not in REQUEUE or job is None or not job.batch:
        raise RunInterruptedError(f"{where}; {advice}", number)
    if first_process():
        # print first: SLURM may end this process before it can print more
        print(f"nas: {where}, requeueing job {job.id}", file=sys.stderr, flush=True)
        requeue(job)
    raise RunRequeuedError(f"job {job.id} is in the queue again and goes on there", number)


def report(error: BaseException) -> int:
    """Print what went wrong, and return the exit code."""
    if os.environ.get("NAS_DEBUG") == "1":
        traceback.print_exception(error)
    error = root_cause(error)
    if isinstance(error, NASError) and error.everywhere and not first_process():
        return error.exit_code
    text = explain(error)
    if text is None:
        text = f"an unexpected error: {unexpected(error)}; {WHERE}"
    print(f"nas: {one_line(text)}", file=sys.stderr)
    return error.exit_code if isinstance(error, NASError) else 1


def unexpected(error: BaseException) -> str:
    """Return the text of an error that no function explains; never empty, and without a colon."""
    text = reason(error)
    return f"no key {text}" if isinstance(error, KeyError) else text or "it has no text"


def first_process() -> bool:
    """Return True if this is the first process of a run, or the only one."""
    # the variables that Lightning reads; importing Lightning would take seconds
    numbers = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    number = next(filter(None, numbers), "0")
    return not number.isdecimal() or int(number) == 0
