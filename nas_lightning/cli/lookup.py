"""`nas lookup`: true or predicted accuracies of cells, and how well a supernet ranks cells."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas_lightning.cli.verb_parser import VerbParser, path, positive, source

if TYPE_CHECKING:
    from nas_lightning.studies.ground_truth import GroundTruth
    from nas_lightning.studies.lookup import Lookup

SPACES = {
    "nasbench201": "nas_bench_201",
    "nas_bench_201": "nas_bench_201",
    "nas_bench_macro": "nas_bench_macro",
    "darts": "darts",
}
"""Names of the spaces on the command line, and those of their benchmarks."""
DARTS = "darts"
MODELS = (".npz", ".onnx")
"""Suffixes of a surrogate of the DARTS space, named here too: its package is slow to import."""


@dataclass(frozen=True)
class LookupOptions:
    """Options of `nas lookup`.

    Args:
        tables: The table of true accuracies, or surrogates.
        column: Column of the table or of the trained cells; `None` means the usual one.
        space: Name of the space; `None` means the one that the table looks like.
        encoding: The encoding of the surrogates; `None` means the one beside each.
        trained: Trained cells on which the error of the surrogates is measured, if any.
        genotypes: Genotype files, architecture strings, run directories.
        search: The search whose supernet ranks cells, if any.
        cells: Number of cells that it ranks; `None` means all.
        batches: Batches of the test data for each cell; `None` means all.
        json: Print JSON.
    """

    tables: tuple[Path, ...]
    column: str | None
    space: str | None
    encoding: Path | None
    trained: Path | None
    genotypes: tuple[str, ...]
    search: Path | None
    cells: int | None
    batches: int | None
    json: bool


def run(arguments: list[str]) -> None:
    """Print the accuracy of cells, and the ranking of a supernet if one is named."""
    given = read(arguments[1:])
    lookup, truth = _open(given)
    found = lookup.look_up(given.genotypes) if given.genotypes or given.trained else None
    parts = [lookup.describe(found)] if found else []
    ranking = None
    if given.search and truth:
        from nas_lightning.studies.ranking import describe_ranking, rank

        ranking = rank(truth, given.search, given.cells, given.batches)
        parts.append(describe_ranking(ranking))
    if given.json:
        print(json.dumps({"looked_up": found, "ranking": ranking}))
    else:
        print("\n\n".join(parts))


def _open(given: LookupOptions) -> tuple[Lookup, GroundTruth | None]:
    """Read the files; a surrogate has no table of true accuracies."""
    if given.space == DARTS:
        from nas_lightning.studies.surrogate import SurrogateLookup

        return SurrogateLookup.load(given.tables, given.encoding, given.trained, given.column), None
    from nas_lightning.studies.benchmarks import BENCHMARKS
    from nas_lightning.studies.ground_truth import GroundTruth
    from nas_lightning.studies.lookup import TrueAccuracies

    benchmark = None if given.space is None else BENCHMARKS[SPACES[given.space]]
    truth = GroundTruth.load(given.tables[0], given.column, benchmark)
    return TrueAccuracies(truth), truth


def read(arguments: list[str]) -> LookupOptions:
    """Read the command line after `nas lookup`.

    Raises:
        UsageError: It is wrong, or asks for nothing.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    if not args.genotypes and args.rank is None and args.trained is None:
        parser.error("name a genotype to look up, or a search by --rank")
    models = [table.suffix in MODELS for table in args.table]
    if args.space is None and all(models):
        args.space = DARTS
    if args.space == DARTS and args.rank:
        parser.error("--rank needs true accuracies, and a surrogate has none")
    if args.space != DARTS and (args.trained or args.encoding or len(models) > 1):
        parser.error("--trained, --encoding and a second --table belong to --space darts")
    return LookupOptions(
        tuple(args.table),
        args.column,
        args.space,
        args.encoding,
        args.trained,
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
        "with --rank also compare the ranking of cells by a search's supernet with the table. "
        "In the DARTS space, print the validation accuracy that a surrogate of NAS-Bench-301 "
        "predicts.",
    )
    parser.add_argument(
        "genotypes",
        type=source,
        nargs="*",
        metavar="GENOTYPE",
        help="a genotype file, an architecture string, or a run directory",
    )
    parser.add_argument(
        "--space",
        choices=SPACES,
        help="the space (default: that of the table's strings; darts for .npz and .onnx)",
    )
    parser.add_argument(
        "--table",
        required=True,
        type=path,
        action="append",
        metavar="FILE",
        help="CSV file with a column arch and columns of accuracies in percent; for darts a "
        "surrogate, .npz or .onnx, and a second one by a second --table",
    )
    parser.add_argument(
        "--column",
        help="column of the table (default: cifar10_test, or the mean of acc1, acc2 and acc3), or "
        "of --trained (default: max_test_acc)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    darts = parser.add_argument_group("surrogates of the DARTS space")
    darts.add_argument(
        "--encoding",
        type=path,
        metavar="FILE",
        help="encoding of the surrogates (default: the file *encoding.json beside each)",
    )
    darts.add_argument(
        "--trained",
        type=path,
        metavar="FILE",
        help="CSV file of trained cells, with the columns normal, reduce and accuracies in "
        "percent: measure on them how well the surrogates rank",
    )
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
