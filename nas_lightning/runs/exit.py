"""Exit codes of the command line, and the message in front of each."""

from __future__ import annotations

import os
import sys
import traceback

from nas_lightning.errors import NASError
from nas_lightning.runs.failures import explain, root_cause


def interrupted() -> int:
    """Say that the user stopped it.

    Returns:
        The exit code.
    """
    print("nas: interrupted", file=sys.stderr)
    return 130


def report(error: BaseException) -> int:
    """Say what went wrong.

    Returns:
        The exit code.
    """
    if os.environ.get("NAS_DEBUG") == "1":
        traceback.print_exception(error)
    error = root_cause(error)
    if isinstance(error, NASError) and error.everywhere and not first_process():
        return error.exit_code
    text = explain(error)
    known = text is not None
    if text is None:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"nas: {text}", file=sys.stderr)
    if not known and os.environ.get("NAS_DEBUG") != "1":
        print("nas: set NAS_DEBUG=1 to see where", file=sys.stderr)
    return error.exit_code if isinstance(error, NASError) else 1


def first_process() -> bool:
    """Whether this is the first process of a run, or the only one."""
    # as Lightning asks, whose import would take seconds
    numbers = (os.environ.get(name) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return int(next(filter(None, numbers), 0)) == 0
