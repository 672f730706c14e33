"""`nas study`: searches with several methods over several seeds, and their comparison."""

from __future__ import annotations

import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nas_lightning.cli.verb_parser import VerbParser, path, positive, whole, word
from nas_lightning.runs.exit import early_signals
from nas_lightning.slurm.batch_script import Request
from nas_lightning.studies.plan import RANDOM, Method, Study
from nas_lightning.text import shown

DESCRIPTION = """\
Search with several methods over several seeds, retrain what they find, and report how far the
result can be trusted. The same command resumes a study that was stopped. Options of single runs
can be added: --search.KEY VALUE for all searches, --retrain.KEY VALUE for all retrainings,
--all.KEY VALUE for both, such as --all.data.root data."""
NAME = re.compile(r"(?!\.+$)[\w.+-]+")
FORWARDED = re.compile(r"--(search|retrain|all)\.(.+)", re.DOTALL)


class Given(NamedTuple):
    """The command line of `nas study`.

    Args:
        folder: The study's folder.
        study: Its plan, not checked yet.
        jobs: Processes that run at a time; `None` means one for each GPU, or one.
        retry_failed: Try runs that failed once more.
        slurm: Request of each job of a SLURM job array; `None` means to run here.
        at_once: Jobs of the array that run at a time; `None` means all.
    """

    folder: Path
    study: Study
    jobs: int | None
    retry_failed: bool
    slurm: Request | None
    at_once: int | None


def run(arguments: list[str]) -> int:
    """Run the rest of the study, and report.

    Returns:
        1 if a run failed, else 0.
    """
    given = read(arguments[1:])
    with early_signals("the study", "the same command resumes it"):
        from nas_lightning.studies.run import run_study

        return run_study(*given)


def read(arguments: list[str]) -> Given:
    """Read the command line after the verb.

    Raises:
        UsageError: It is wrong.
    """
    own, options = _divide(arguments)
    parser = _parser()
    args = parser.parse_args(own)
    if args.retrain and args.table:
        parser.error("--table replaces the retraining: give --table or --retrain, not both")
    if not (args.retrain or args.table):
        parser.error("name what judges the found cells: --retrain CONFIG, or --table FILE")
    if args.column and not args.table:
        parser.error("--column is a column of --table")
    if args.trained and not args.table:
        parser.error("--trained measures the error of a surrogate: name one by --table")
    methods = tuple(_method(parser, text) for text in args.config)
    if args.budgets:
        methods = tuple(_within(parser, m, each) for m in methods for each in args.budgets)
    names = [method.name for method in methods]
    if len(set(names)) < len(names) or RANDOM in names:
        parser.error(f"give each method its own name by NAME=CONFIG, found {', '.join(names)}")
    study = Study(
        methods,
        seeds=args.seeds,
        retrain=_method(parser, args.retrain) if args.retrain else None,
        retrain_seeds=args.retrain_seeds,
        random=args.random,
        search_options=tuple(options["search"]),
        retrain_options=tuple(options["retrain"]),
        table=None if args.table is None else str(args.table),
        column=args.column,
        trained=None if args.trained is None else str(args.trained),
        metric=args.metric,
    )
    slurm = _request(args) if args.slurm else None
    return Given(args.dir, study, args.jobs, args.retry_failed, slurm, args.at_once)


def _divide(arguments: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Separate the options of the study from those of searches and retrainings."""
    own: list[str] = []
    options: dict[str, list[str]] = {"search": [], "retrain": []}
    rest = iter(arguments)
    for argument in rest:
        found = FORWARDED.fullmatch(argument)
        if found is None:
            own.append(argument)
            continue
        # --search.a.b=1 is complete; --search.a.b 1 takes the next argument along
        parts = [f"--{found[2]}"] if "=" in found[2] else [f"--{found[2]}", *_next(rest)]
        for stage in options if found[1] == "all" else (found[1],):
            options[stage] += parts
    return own, options


def _next(rest: Any) -> list[str]:
    return [value for value in (next(rest, None),) if value is not None]


def _method(parser: VerbParser, text: str) -> Method:
    """Read `[NAME=]CONFIG[,CONFIG…]`."""
    name, equals, files = text.rpartition("=")
    configs = tuple(part for part in files.split(",") if part)
    if not configs:
        parser.error(f"expected [NAME=]CONFIG[,CONFIG…], found {shown(text)}")
    if not equals:
        name = Path(configs[-1]).stem
    if not NAME.fullmatch(name):
        parser.error(f"name a method by letters, digits and . _ + - only, found {shown(name)}")
    return Method(name, configs)


def _within(parser: VerbParser, method: Method, budget: str) -> Method:
    """Return a method with a budget of its `ResourcePenalty`, the last of its strategies."""
    name = f"{method.name}_{''.join(budget.split())}"
    if not NAME.fullmatch(name):
        parser.error(f"--budgets: expected budgets such as 3.2M, found {shown(budget)}")
    return replace(method, name=name, options=(f"--model.strategies.budget={budget}",))


def _request(args: Namespace) -> Request:
    """Return the request of each job."""
    folder = args.dir.resolve()  # jobs start elsewhere
    return Request(
        name=folder.name,
        logs=str(folder / "logs"),
        gpus=args.gpus,
        tasks=1,
        cpus=args.cpus_per_task,
        memory=args.mem,
        time=args.time,
        lead=args.lead,
        partition=args.partition,
        account=args.account,
    )


def _parser() -> VerbParser:
    parser = VerbParser(
        "nas study",
        DESCRIPTION,
        usage="%(prog)s --config SEARCH [--config …] --retrain RETRAIN [options]",
    )
    add = parser.add_argument
    text = (
        "a method: the configuration of a search, a file or a shipped name; several are joined by "
        "commas, and later ones win; repeat the option to compare methods on the same seeds"
    )
    add("-c", "--config", action="append", required=True, metavar="[NAME=]CONFIG[,…]", help=text)
    text = (
        "search with each method under each of these budgets; its last strategy is "
        "ResourcePenalty, such as that of methods/budget"
    )
    add("--budgets", nargs="+", type=word, metavar="BUDGET", help=text)
    add("--retrain", metavar="CONFIG[,…]", help="configuration of the retraining")
    text = (
        "table of true accuracies, or a surrogate of the DARTS space (.npz or .onnx), instead of a "
        "retraining; see nas lookup"
    )
    add("--table", type=path, metavar="FILE", help=text)
    add("--column", help="column of the table, or of --trained; see nas lookup")
    text = "CSV file of trained cells on which the error of the surrogate is measured"
    add("--trained", type=path, metavar="FILE", help=text)
    add("--seeds", type=positive, default=10, metavar="N", help="searches per method (default: 10)")
    text = "retrainings of each cell (default: 1)"
    add("--retrain-seeds", type=positive, default=1, metavar="R", help=text)
    text = "randomly drawn cells, judged like the found ones and by each supernet (default: 10)"
    add("--random", type=whole, default=10, metavar="M", help=text)
    add("--metric", help="metric to compare (default: the first of the task: accuracy, psnr, …)")
    add("--dir", type=path, default=Path("runs/study"), help="the study's folder (default: "
        "%(default)s)")  # fmt: skip
    text = "runs at a time (default: one for each GPU, or one)"
    add("--jobs", type=positive, metavar="J", help=text)
    add("--retry-failed", action="store_true", help="try failed runs once more")
    add("--slurm", action="store_true", help="run as a job array of SLURM (needs submitit)")
    slurm = parser.add_argument_group("with --slurm, for each job")
    slurm.add_argument("--partition", type=word, help="default: SLURM's")
    slurm.add_argument("--account", type=word, help="default: SLURM's")
    slurm.add_argument("--time", default="24:00:00", help="time limit (default: %(default)s)")
    text = "seconds before the time limit at which a job saves and is requeued (default: 300)"
    slurm.add_argument("--lead", type=positive, default=300, metavar="SECONDS", help=text)
    slurm.add_argument("--gpus", type=whole, default=1, help="GPUs (default: 1)")
    text = "CPU cores (default: 8)"
    slurm.add_argument("--cpus-per-task", type=positive, default=8, metavar="C", help=text)
    slurm.add_argument("--mem", type=word, help="memory (default: SLURM's)")
    text = "jobs that run at a time (default: all)"
    slurm.add_argument("--at-once", type=positive, metavar="N", help=text)
    return parser
