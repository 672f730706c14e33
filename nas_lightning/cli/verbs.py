"""The table of verbs: `nas --help` and the search for a verb by its name are made from it."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nas_lightning.errors import UsageError

Run = Callable[[list[str]], int | None]
"""The command line, starting with the verb → the exit code; `None` means 0."""


@dataclass(frozen=True)
class Verb:
    """An entry of the table.

    Args:
        group: Heading of the help under which the verb is listed.
        summary: One line for the help.
        module: Module of this package whose function `run` runs the verb. It is imported only when
            the verb is called, so that `nas --help` answers at once.
    """

    group: Literal["run", "look"]
    summary: str
    module: str


VERBS: dict[str, Verb] = {
    "fit": Verb("run", "search or retrain, as the configuration says", "fit"),
    "validate": Verb("run", "metrics on the validation data", "fit"),
    "test": Verb("run", "metrics on the test data (of a search: one-shot)", "fit"),
    "predict": Verb("run", "predictions for image files or the test data, as a table", "predict"),
    "export": Verb("run", "a retrained network as a .pt2, .onnx or .pt file", "export"),
    "submit": Verb("run", "fit as a job of a SLURM cluster", "submit"),
    "study": Verb("run", "search over many seeds, retrain, compare, report", "study"),
    "derive": Verb("look", "read the genotype off a checkpoint", "derive"),
    "info": Verb("look", "parameters and multiply-adds of a genotype", "info"),
    "draw": Verb("look", "draw the cells of a genotype", "draw"),
    "report": Verb("look", "write the report of a study again", "report"),
    "bench": Verb("look", "measure the steps of a search: time, memory, kernels", "bench"),
    "latency": Verb("look", "measure a search's operations on this machine", "latency"),
    "lookup": Verb("look", "true accuracy of cells by a table, or that of a surrogate", "lookup"),
    "doctor": Verb("look", "check the machine, a search and its retraining", "doctor"),
    "configs": Verb("look", "list, show or copy the configurations that come with nas", "configs"),
    "demo": Verb("look", "search, retrain and test on handwritten digits, in minutes", "demo"),
}
"""All verbs by name, in the order of the help."""

RENAMED = {"benchmark": "lookup"}
"""Earlier name of a verb → its present name."""

HELP = """\
nas: differentiable neural architecture search

usage: nas VERB [options]        `nas VERB --help` explains a verb

run
{run}

look
{look}

examples
  nas fit --config cifar_idarts.yaml --data.root data
  nas fit --config cifar_idarts.yaml --ckpt_path last   resumes the run
  nas fit --config cifar_retrain.yaml \\
      --model.genotype runs/cifar_idarts/genotype.json

options
  -h, --help     show this
  --version      show the version

NAS_DEBUG=1 shows tracebacks.
"""


RUNS = ("demo", *(name for name, verb in VERBS.items() if verb.group == "run"))
"""Verbs whose work counts, and not what they print."""


def is_run(arguments: list[str]) -> bool:
    """Return True if a command line runs something, and False if it only shows something."""
    return bool(arguments) and arguments[0] in RUNS and not {"-h", "--help"} & set(arguments)


def help_text() -> str:
    """Return the text of `nas --help`."""
    lines: dict[str, list[str]] = {"run": [], "look": []}
    for name, verb in VERBS.items():
        lines[verb.group].append(f"  {name:<10} {verb.summary}")
    return HELP.format(**{group: "\n".join(found) for group, found in lines.items()})


def find(name: str) -> Run:
    """Import the module of a verb and return its `run`.

    An earlier name of a verb still works; the present one is printed to stderr.

    Raises:
        UsageError: There is no such verb; the message names the nearest.
    """
    if name in RENAMED:
        print(f"nas: `nas {name}` is now called `nas {RENAMED[name]}`", file=sys.stderr)
        name = RENAMED[name]
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"no verb {name!r}; {hint}`nas --help` lists all")
    run: Run = importlib.import_module(f"nas_lightning.cli.{VERBS[name].module}").run
    return run
