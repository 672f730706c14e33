"""The options of `nas bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, positive, whole

PRESETS = ("digits", "cifar", "nas_bench_201", "cifar_full", "quick")
STEPS = ("search", "arch", "weight", "retrain", "data", "fit")
CELLS = ("fast", "reference", "plain")
PRECISIONS = ("32-true", "tf32", "ieee", "bf16-mixed")


@dataclass(frozen=True)
class BenchOptions:
    """What to measure, and where the figures go.

    Attributes:
        preset: A search of fixed sizes; none for a configuration.
        configs: Configurations of one run; later ones win.
        methods: Methods; none for that of the preset or configuration.
        steps: Steps; none for the usual ones.
        cells: How cells are computed; none for all that there are.
        precisions: How numbers are computed; none for that of the configuration, or 32 bits.
        batch: Samples in a batch; none for that of the preset or configuration.
        repeat: Rounds that count.
        warm_up: Rounds before them.
        threads: CPU threads; none for those of the preset or configuration.
        accelerator: Of the trainer.
        on_device: Keep the data on the device.
        checkpoint: Checkpoint cells.
        compile: Compile cells.
        graphs: Replay passes as CUDA graphs.
        json: File to write.
        markdown: Print Markdown.
        compare: Figures to compare with.
    """

    preset: str | None
    configs: tuple[str, ...]
    methods: tuple[str, ...]
    steps: tuple[str, ...]
    cells: tuple[str, ...]
    precisions: tuple[str, ...]
    batch: int | None
    repeat: int
    warm_up: int
    threads: int | None
    accelerator: str
    on_device: bool
    checkpoint: bool
    compile: bool
    graphs: bool
    json: Path | None
    markdown: bool
    compare: Path | None


def read(arguments: list[str]) -> BenchOptions:
    """Read the command line behind `nas bench`.

    Raises:
        UsageError: It is wrong.
    """
    parser = VerbParser(
        "nas bench",
        description="What the steps of a search cost here: time, kernels, FLOPs, memory, and how "
        "long a full search would take. Cases are measured in turn; the first is the base of "
        "the ratios.",
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
    parser.add_argument(
        "--cells", nargs="+", default=(), choices=CELLS, help="default: all that there are"
    )
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
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument(
        "--compare", type=Path, metavar="OLD", help="a file of --json: what changed since"
    )
    args = parser.parse_args(arguments)
    configs = tuple(args.config)
    return BenchOptions(
        preset=None if configs else args.preset or PRESETS[0],
        configs=configs,
        methods=_once(args.methods),
        steps=_once(args.steps),
        cells=_once(args.cells),
        precisions=_once(args.precision),
        batch=args.batch,
        repeat=args.repeat,
        warm_up=args.warm_up,
        threads=args.threads,
        accelerator=args.accelerator,
        on_device=args.on_device,
        checkpoint=args.checkpoint_cells,
        compile=args.compile,
        graphs=args.graphs,
        json=args.json,
        markdown=args.markdown,
        compare=args.compare,
    )


def _once(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
