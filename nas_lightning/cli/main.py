"""The `nas` command: find the verb, run it, and report a failure in one message."""

from __future__ import annotations

import sys
from functools import partial

from nas_lightning import __version__
from nas_lightning.cli.process import check_process, tolerate_any_text
from nas_lightning.cli.verbs import find, help_text
from nas_lightning.runs.exit import exit_code


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: The command line without the program; `None` means that of this process.

    Returns:
        0; 1 if the run failed or `doctor` found a difference; 2 if the command or the
        configuration is wrong; 130 if the user interrupted it.
    """
    tolerate_any_text()
    return exit_code(partial(dispatch, sys.argv[1:] if argv is None else argv))


def dispatch(arguments: list[str]) -> int:
    """Call the verb that the first argument names.

    Raises:
        UsageError: There is no such verb.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if arguments[0] == "--version":
        print(f"nas {__version__}")
        return 0
    check_process()
    return find(arguments[0])(arguments) or 0
