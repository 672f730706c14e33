"""Exit codes of the command line, and the message that goes with each."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from nas_lightning.errors import NASError
from nas_lightning.runs.failures import explain, root_cause
from nas_lightning.text import one_line

INTERRUPTED = 130
"""Exit code of a command that the user stopped."""

WHERE = "NAS_DEBUG=1 before the command shows where"
"""Advice for an error that nobody expected."""


def exit_code(command: Callable[[], int | None]) -> int:
    """Call a command and return its exit code, with one message if it fails.

    Args:
        command: Returns its exit code; `None` means 0.
    """
    try:
        return command() or 0
    except SystemExit as stop:  # argparse's help, or Ctrl-C as Lightning passes it on
        if isinstance(stop.__context__, KeyboardInterrupt):
            return interrupted()
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return interrupted()
    except Exception as error:  # noqa: BLE001 (the last resort of a program)
        return report(error)


def interrupted() -> int:
    """Print that the user stopped the command, and return the exit code."""
    print("nas: interrupted", file=sys.stderr)
    return INTERRUPTED


def report(error: BaseException) -> int:
    """Print what went wrong, and return the exit code."""
    if os.environ.get("NAS_DEBUG") == "1":
        traceback.print_exception(error)
    error = root_cause(error)
    if isinstance(error, NASError) and error.everywhere and not first_process():
        return error.exit_code
    text = explain(error)
    if text is None:
        text = (
            f"an unexpected error: {unexpected(error)}; NAS_DEBUG=1 before the command shows where"
        )
    print(f"nas: {one_line(text)}", file=sys.stderr)
    return error.exit_code if isinstance(error, NASError) else 1


def unexpected(error: BaseException) -> str:
    """Return the text of an error that no function explains; never empty, and without a colon."""
    text = one_line(str(error)).rstrip(":. ")
    return f"no key {text}" if isinstance(error, KeyError) else text or "it has no text"


def first_process() -> bool:
    """Return True if this is the first process of a run, or the only one."""
    # the variables that Lightning reads; importing Lightning would take seconds
    numbers = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    number = next(filter(None, numbers), "0")
    return not number.isdecimal() or int(number) == 0
