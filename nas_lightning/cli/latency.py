"""`nas latency`: a table of the latencies of a search's operations, measured here."""

from __future__ import annotations

import sys

from nas_lightning.cli.verb_parser import VerbParser, path, positive, whole


def run(arguments: list[str]) -> None:
    """Measure the operations of a search on this machine, and write a table for budgets."""
    args = _parser().parse_args(arguments[1:])
    from nas_lightning.bench.latency import LatencyOptions, measure_latencies
    from nas_lightning.display import Bar, Display
    from nas_lightning.runs.latencies import accelerator, budgeted

    device = accelerator(args.accelerator)
    space, network, sizes = budgeted(args.config)
    with Display(sys.stderr) as display:

        def show(what: str, done: int, total: int) -> None:
            display.show(Bar([f"{what}  {done + 1}/{total}", what], [""], done, total))

        options = LatencyOptions(
            device, args.batch_size, args.threads, args.warm_up, args.repeat, show
        )
        table = measure_latencies(space, network, sizes, options)
    table.save(args.output)
    print(f"{len(table.rows)} rows for {table.device} written to {args.output}")


def _parser() -> VerbParser:
    parser = VerbParser(
        "nas latency",
        description="Measure every operation of a search at every size at which the network of a "
        "genotype runs it, on this machine. The table is one for ResourcePenalty with the "
        "resource latency.",
    )
    parser.add_argument(
        "--config",
        action="append",
        required=True,
        help="a search, a file or a shipped name; if repeated, later ones win",
    )
    parser.add_argument("-o", "--output", type=path, required=True, help="the table to write")
    parser.add_argument(
        "--batch-size", type=positive, default=1, help="images in a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--accelerator", default="auto", choices=("auto", "cpu", "gpu"), help="default: auto"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads")
    parser.add_argument(
        "--repeat", type=positive, default=30, help="samples that count (default: %(default)s)"
    )
    parser.add_argument(
        "--warm-up", type=whole, default=5, help="samples before them (default: %(default)s)"
    )
    return parser
