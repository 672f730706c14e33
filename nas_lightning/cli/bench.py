"""`nas bench`: time, kernels, FLOPs and memory of the steps of a search, measured here."""

from __future__ import annotations

import sys
from argparse import Namespace

from nas_lightning.cli.verb_parser import VerbParser, path, positive, whole
from nas_lightning.errors import NASError

PRESETS = ("digits", "cifar", "nas_bench_201", "cifar_full", "quick")
STEPS = ("search", "arch", "weight", "retrain", "data", "fit")
CELLS = ("fast", "reference", "plain")
PRECISIONS = ("32-true", "tf32", "ieee", "bf16-mixed")
# as in nas_lightning.bench, whose import takes seconds; a test compares them


def run(arguments: list[str]) -> None:
    """Measure, and print the figures."""
    args = read(arguments[1:])
    from nas_lightning.bench import Options
    from nas_lightning.bench.request import Request, figures
    from nas_lightning.display import Bar, Display
    from nas_lightning.runs.failures import root_cause
    from nas_lightning.runs.preview import PlanCLI

    def build(line: list[str]) -> PlanCLI:
        """Build a run; an error of its parts is raised as it is, without jsonargparse's text."""
        try:
            return PlanCLI(line)
        except Exception as error:
            cause = root_cause(error)
            if not isinstance(cause, NASError):
                raise
        raise cause  # outside: an error that is raised from itself has an endless chain

    request = Request(
        preset=args.preset,
        configs=tuple(args.config),
        methods=_once(args.methods),
        steps=_once(args.steps),
        cells=_once(args.cells),
        precisions=_once(args.precision),
        batch=args.batch,
        threads=args.threads,
        on_device=args.on_device,
        checkpoint=args.checkpoint_cells,
        compile=args.compile,
        graphs=args.graphs,
        json=args.json,
        markdown=args.markdown,
        compare=args.compare,
    )
    with Display(sys.stderr) as display:

        def show(what: str, done: int, total: int) -> None:
            display.show(Bar([f"{what}  round {done + 1}/{total}", what], [""], done, total))

        options = Options(args.repeat, args.warm_up, args.accelerator, say=display.line, show=show)
        found = figures(request, options, build, ["nas", *arguments])
    print(found)


def read(arguments: list[str]) -> Namespace:
    """Read the command line after `nas bench`.

    Raises:
        UsageError: It is wrong.
    """
    args = _parser().parse_args(arguments)
    args.preset = None if args.config else args.preset or PRESETS[0]
    return args


def _parser() -> VerbParser:
    parser = VerbParser(
        "nas bench",
        description="Measure the steps of a search on this machine: time, kernels, FLOPs, memory, "
        "and the time that a full search would take. Cases are measured in turn; the first is the "
        "base of the ratios.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--preset", choices=PRESETS, help="a search of fixed sizes (default: digits)")
    what.add_argument(
        "--config",
        action="append",
        default=[],
        help="a run, a file or a shipped name; if repeated, later ones win",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=(),
        metavar="METHOD",
        help="such as darts idarts gdas; with --config the names of overlays in methods/",
    )
    parser.add_argument(
        "--steps", nargs="+", default=(), choices=STEPS, help="default: search arch weight; retrain"
    )
    parser.add_argument("--cells", nargs="+", default=(), choices=CELLS, help="default: all")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=(),
        choices=PRECISIONS,
        help="default: the configuration's, or 32",
    )
    parser.add_argument("--batch", type=positive, help="samples in a batch")
    parser.add_argument(
        "--repeat", type=positive, default=10, help="rounds that count (default: %(default)s)"
    )
    parser.add_argument(
        "--warm-up", type=whole, default=2, help="rounds before them (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads")
    parser.add_argument(
        "--accelerator", default="auto", choices=("auto", "cpu", "gpu"), help="default: auto"
    )
    parser.add_argument("--on-device", action="store_true", help="keep the data on the device")
    parser.add_argument("--checkpoint-cells", action="store_true", help="checkpoint cells")
    parser.add_argument("--compile", action="store_true", help="compile cells; times only")
    parser.add_argument(
        "--graphs", action="store_true", help="replay passes as CUDA graphs; times only"
    )
    parser.add_argument("--json", type=path, metavar="OUT", help="also write the figures")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument(
        "--compare", type=path, metavar="OLD", help="also show the changes since a file of --json"
    )
    return parser


def _once(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in order, without repetitions."""
    return tuple(dict.fromkeys(names))
