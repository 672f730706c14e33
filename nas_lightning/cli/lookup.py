"""`nas lookup`: the true accuracy of cells, and how well a supernet ranks cells."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, path, positive, source

SPACES = {
    "nasbench201": "nas_bench_201",
    "nas_bench_201": "nas_bench_201",
    "nas_bench_macro": "nas_bench_macro",
}
"""Names of the benchmarks on the command line, and their own."""


@dataclass(frozen=True)
class LookupOptions:
    """Options of `nas lookup`.

    Args:
        table: The table of true accuracies.
        column: Its column; `None` means the usual one.
        space: Name of the benchmark; `None` means the one that the table looks like.
        genotypes: Genotype files, architecture strings, run directories.
        search: The search whose supernet ranks cells, if any.
        cells: Number of cells that it ranks; `None` means all.
        batches: Batches of the test data for each cell; `None` means all.
        json: Print JSON.
    """

    table: Path
    column: str | None
    space: str | None
    genotypes: tuple[str, ...]
    search: Path | None
    cells: int | None
    batches: int | None
    json: bool


def run(arguments: list[str]) -> None:
    """Print the true accuracy of cells, and the ranking of a supernet if one is named."""
    given = read(arguments[1:])
    from nas_lightning.studies.benchmarks import BENCHMARKS
    from nas_lightning.studies.ground_truth import GroundTruth
    from nas_lightning.studies.lookup import describe_cells, look_up

    benchmark = None if given.space is None else BENCHMARKS[SPACES[given.space]]
    truth = GroundTruth.load(given.table, given.column, benchmark)
    found = look_up(truth, given.genotypes) if given.genotypes else None
    parts = [describe_cells(found)] if found else []
    ranking = None
    if given.search:
        from nas_lightning.studies.ranking import describe_ranking, rank

        ranking = rank(truth, given.search, given.cells, given.batches)
        parts.append(describe_ranking(ranking))
    if given.json:
        print(json.dumps({"looked_up": found, "ranking": ranking}))
    else:
        print("\n\n".join(parts))


def read(arguments: list[str]) -> LookupOptions:
    """Read the command line after `nas lookup`.

    Raises:
        UsageError: It is wrong, or asks for nothing.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    if not args.genotypes and args.rank is None:
        parser.error("name a genotype to look up, or a search by --rank")
    return LookupOptions(
        args.table,
        args.column,
        args.space,
        tuple(args.genotypes),
        args.rank,
        args.cells,
        args.batches,
        args.json,
    )


def _parser() -> VerbParser:
    parser = VerbParser(
        "nas lookup",
        description="Look up the true accuracy, rank and regret of cells in a benchmark's table; "
        "with --rank also compare the ranking of cells by a search's supernet with the table.",
    )
    parser.add_argument(
        "genotypes",
        type=source,
        nargs="*",
        metavar="GENOTYPE",
        help="a genotype file, an architecture string, or a run directory",
    )
    parser.add_argument(
        "--space", choices=SPACES, help="the benchmark (default: that of the table's strings)"
    )
    parser.add_argument(
        "--table",
        required=True,
        type=path,
        metavar="FILE",
        help="CSV file with a column arch and columns of accuracies in percent",
    )
    parser.add_argument(
        "--column",
        help="column of the table (default: cifar10_test, or the mean of acc1, acc2 and acc3)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    rank = parser.add_argument_group("ranking by a supernet")
    rank.add_argument(
        "--rank", type=path, metavar="SEARCH", help="run directory or checkpoint of a search"
    )
    rank.add_argument(
        "--cells",
        type=_cells,
        default=100,
        metavar="M",
        help="number of cells to draw, or all (default: %(default)s)",
    )
    rank.add_argument(
        "--batches",
        type=positive,
        metavar="N",
        help="batches of the test data for each cell (default: all)",
    )
    return parser


def _cells(text: str) -> int | None:
    """Read a number of cells; `all` becomes `None`."""
    if text == "all":
        return None
    number = positive(text)
    if number < 3:
        raise argparse.ArgumentTypeError(f"a correlation needs at least 3 cells, found {text}")
    return number
