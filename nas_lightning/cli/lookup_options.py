"""The options of `nas benchmark`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from nas_lightning.cli.verb_parser import VerbParser, positive

SPACES = ("nasbench201", "nas_bench_201")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What to look up, and in what.

    Args:
        table: The table of true accuracies.
        column: Its column; none for the usual one.
        genotypes: Genotype files, architecture strings, run directories.
        search: The search whose supernet is asked to rank cells, if any.
        cells: How many cells it ranks; none for all.
        batches: On how many batches of the test data; none for all.
        json: Print JSON.
    """

    table: Path
    column: str | None
    genotypes: tuple[str, ...]
    search: Path | None
    cells: int | None
    batches: int | None
    json: bool


def read(arguments: list[str]) -> BenchmarkOptions:
    """Read the command line behind `nas benchmark`.

    Raises:
        UsageError: It is wrong, or asks for nothing.
    """
    parser = VerbParser(
        "nas benchmark",
        description="True accuracy, rank and regret of cells, looked up in a benchmark's table; "
        "with --rank also how well a search's supernet orders cells, by that table.",
    )
    parser.add_argument(
        "genotypes",
        nargs="*",
        metavar="GENOTYPE",
        help="a genotype file, an architecture string, or a run directory",
    )
    parser.add_argument(
        "--space", choices=SPACES, default=SPACES[0], help="the benchmark (default: %(default)s)"
    )
    parser.add_argument(
        "--table",
        required=True,
        type=Path,
        metavar="FILE",
        help="CSV file with a column arch and columns of accuracies in percent",
    )
    parser.add_argument("--column", help="column of the table (default: cifar10_test)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    rank = parser.add_argument_group("ranking by a supernet")
    rank.add_argument(
        "--rank", type=Path, metavar="SEARCH", help="run directory or checkpoint of a search"
    )
    rank.add_argument(
        "--cells",
        type=_cells,
        default=100,
        metavar="M",
        help="cells that are drawn, or all (default: %(default)s)",
    )
    rank.add_argument(
        "--batches",
        type=positive,
        metavar="N",
        help="batches of the test data for each cell (default: all)",
    )
    args = parser.parse_args(arguments)
    if not args.genotypes and args.rank is None:
        parser.error("name a genotype to be looked up, or a search by --rank")
    return BenchmarkOptions(
        args.table,
        args.column,
        tuple(args.genotypes),
        args.rank,
        args.cells,
        args.batches,
        args.json,
    )


def _cells(text: str) -> int | None:
    """A number of cells; none for `all`."""
    if text == "all":
        return None
    number = positive(text)
    if number < 3:
        raise argparse.ArgumentTypeError(f"a correlation needs at least 3 cells, found {text}")
    return number
