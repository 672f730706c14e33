"""The `nas` command: find the verb, run it, and report a failure in one message."""

from __future__ import annotations

import sys
from functools import partial

from nas_lightning import __version__, printing, signals
from nas_lightning.cli.process import check_process
from nas_lightning.cli.verbs import find, help_text, is_run
from nas_lightning.runs.exit import exit_code
from nas_lightning.signals import Inbox


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv: The command line without the program; `None` means that of this process.

    Returns:
        0; 1 if the run failed or `doctor` found a difference; 2 if the command or the
        configuration is wrong; 128 and the number of the signal if one stopped it; 141 if the
        reader of a verb's output went away.
    """
    arguments = sys.argv[1:] if argv is None else argv
    with signals.received(Inbox(at_once=False)):
        printing.protect()
        code = exit_code(partial(dispatch, arguments))
        return code if is_run(arguments) else printing.exit_code(code)


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
