"""`nas`: one command, all verbs, and failures in one message."""

from __future__ import annotations

import sys

from nas_lightning import __version__
from nas_lightning.runs.exit import interrupted, report

HELP = """\
nas: differentiable neural architecture search

usage: nas VERB [options]        `nas VERB --help` explains a verb

run
  fit        search or retrain, as the configuration says
  validate   metrics on the validation data
  test       metrics on the test data (of a search: one-shot)
  predict    predictions for the test data, as a file
  submit     fit as a job of a SLURM cluster
  study      search over many seeds, retrain, compare, report

look
  derive     read the genotype off a checkpoint
  info       parameters and multiply-adds of a genotype
  draw       draw the cells of a genotype
  report     make the report of a study anew
  bench      what the steps of a search cost here: time, memory, kernels
  benchmark  true accuracy of cells of NAS-Bench-201, from its table
  doctor     what a run finds here; plan of a search; does a retraining agree?
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
