"""`nas`: one command, all verbs, and failures in one message."""

from __future__ import annotations

import os
import re
import sys
import traceback

from nas_lightning import __version__
from nas_lightning.errors import NASError

HELP = """\
nas: differentiable neural architecture search

usage: nas VERB [options]        `nas VERB --help` explains a verb

run
  fit        search or retrain, as the configuration says
  validate   metrics on the validation data
  test       metrics on the test data (of a search: one-shot)
  predict    predictions for the test data, as a file

look
  derive     read the genotype off a checkpoint
  info       parameters and multiply-adds of a genotype
  draw       draw the cells of a genotype
  doctor     plan of a search, and whether a retraining agrees with it
  configs    list, show or copy the configurations that come with nas
  demo       search, retrain and test on handwritten digits, in minutes

examples
  nas fit --config cifar_idarts.yaml --data.root data
  nas fit --config cifar_idarts.yaml --ckpt_path last   goes on with it
  nas fit --config cifar_retrain.yaml \\
      --model.genotype runs/cifar_idarts/genotype.json

options
  -h, --help     show this
  --version      show the version

NAS_DEBUG=1 shows tracebacks.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    Returns:
        0, 1 when the run failed or `doctor` found a difference, 2 when the command or
        configuration is wrong, 130 when it was interrupted.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return dispatch(arguments)
    except SystemExit as stop:  # argparse's help, and what Lightning makes of a Ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            return interrupted()
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        return interrupted()
    except Exception as error:  # noqa: BLE001 (the last resort of a program)
        return report(error)


def interrupted() -> int:
    """Say that the user stopped it.

    Returns:
        The exit code.
    """
    print("nas: interrupted", file=sys.stderr)
    return 130


def dispatch(arguments: list[str]) -> int:
    """Call the verb that the first argument names.

    Raises:
        UsageError: There is no such verb.
    """
    from nas_lightning.cli import verbs

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(f"nas {__version__}")
        return 0
    return verbs.find(arguments[0])(arguments) or 0


def root_cause(error: BaseException) -> BaseException:
    """The failure of ours behind an error, or the error of which jsonargparse made a long text."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for link in chain:
        if isinstance(link, NASError):
            return link
    wrapped = "Does not validate against any of the Union subtypes"
    return next((link for link in chain if not str(link).startswith(wrapped)), error)


def report(error: BaseException) -> int:
    """Say what went wrong.

    Returns:
        The exit code.
    """
    if os.environ.get("NAS_DEBUG") == "1":
        traceback.print_exception(error)
    error = root_cause(error)
    text = explain(error)
    known = text is not None
    if text is None:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"nas: {text}", file=sys.stderr)
    if not known and os.environ.get("NAS_DEBUG") != "1":
        print("nas: set NAS_DEBUG=1 to see where", file=sys.stderr)
    return error.exit_code if isinstance(error, NASError) else 1


def explain(error: BaseException) -> str | None:
    """The message for a failure that is understood, nothing for others."""
    text = str(error)
    if isinstance(error, NASError):
        if "Original Traceback" in text:  # raised in a loader's worker: the last line says it
            return text.strip().splitlines()[-1].partition(": ")[2]
        return text
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if found := re.search(r"monitor='(.*?)'\)` could not find .*?\[(.*?)\]", text):
        logged = ", ".join(re.findall(r"'(\w+/\w+)'", found[2]))
        return f"checkpoint.monitor: no metric {found[1]!r} is logged; there are {logged}"
    return text if type(error).__name__ == "MisconfigurationException" else None
