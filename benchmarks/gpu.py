"""Measure what searches cost on this GPU, in about eight minutes.

    python benchmarks/gpu.py                                    # made-up images
    python benchmarks/gpu.py --data data --table accuracies.csv # also real searches on CIFAR-10

The script runs from a checkout and needs torch, torchvision, lightning and torchmetrics, but not
the command line of nas. It rewrites the section on GPUs in docs/benchmarks.md. `--cpu-rehearsal`
runs all measurements with tiny sizes on the CPU and only prints. `--compile` adds compiled cells,
which take some more minutes.
"""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch

from nas_lightning.bench import Options, Results, measure, searches, table
from nas_lightning.bench import methods as known
from nas_lightning.bench.harness import quiet
from nas_lightning.bench.made_up import MadeUpCIFAR
from nas_lightning.bench.settings import FULL, K4, QUICK, Setting, Wanted, groups
from nas_lightning.data import CIFAR10
from nas_lightning.errors import NASError
from nas_lightning.files import write_text
from nas_lightning.spaces import DartsSupernet
from nas_lightning.spaces.nas_bench_201 import to_string
from nas_lightning.studies.ground_truth import GroundTruth

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
MINUTES = 8.0
SEEDS = 3
LAST = 30.0
"""Seconds that must be left to start another measurement."""


@dataclass(frozen=True)
class Session:
    """Settings of all measurements, on a GPU or in a rehearsal.

    Attributes:
        args: The command line.
        full: The setting of the tables.
        memory: The setting in which methods are compared.
        repeat: Number of measured rounds.
        accelerator: Accelerator of the trainer.
        ends: Time at which everything must be over, on the clock of `time.monotonic`.
    """

    args: argparse.Namespace
    full: Setting
    memory: Setting
    repeat: int
    accelerator: str
    ends: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    @property
    def over(self) -> bool:
        """True if no time is left to start another measurement; a rehearsal has no limit."""
        return self.accelerator == "gpu" and self.left < LAST

    def measure(self, setting: Setting, wanted: Wanted, repeat: int | None = None) -> Results:
        """Measure a setting."""
        options = Options(repeat or self.repeat, 2 if repeat is None else 0, self.accelerator)
        return measure(groups(setting, wanted), options)


def tables(session: Session) -> Iterator[str]:
    """Measure cells and precisions, data, a fit, graphs, and compiled cells if asked for."""
    precisions = ("ieee", "tf32", "bf16-mixed")
    cells = session.measure(session.full, Wanted(steps=("search",), precisions=precisions))
    yield f"{table.machine_line(cells)}.\n\nCommand: `{shlex.join(session.args.command)}`"
    yield f"**Cells and precisions**, ratios to the first case\n\n{table.markdown(cells)}"
    fit = Wanted(("fit", "data"), cells=("fast",), precisions=("bf16-mixed",), on_device=True)
    found = session.measure(session.full, fit)
    yield f"**A batch in `Trainer.fit`, data on the device**\n\n{table.markdown(found)}"
    graphs = Wanted(
        ("search", "weight"),
        cells=("fast",),
        precisions=precisions[1:],
        graphs=True,
        on_device=True,
    )
    yield f"**CUDA graphs**\n\n{table.markdown(session.measure(session.full, graphs))}"
    if session.args.compile:
        backend = "inductor" if session.accelerator == "gpu" else "eager"
        compiled = Wanted(("search",), cells=("fast",), precisions=("tf32",), compile=backend)
        yield f"**Compiled cells**\n\n{table.markdown(session.measure(session.full, compiled))}"


def methods(session: Session) -> Iterator[str]:
    """Measure time and memory of the methods, one at a time since some run out of memory."""
    rows: list[Any] = []
    missing: list[str] = []
    first: Results | None = None
    for method in known.METHODS:
        if session.over:
            yield f"No time was left from {method} on."
            break
        wanted = Wanted(("search",), (method,), ("fast",), ("bf16-mixed",))
        try:
            first = session.measure(session.memory, wanted, repeat=3)
        except torch.OutOfMemoryError:
            missing.append(method)
            torch.cuda.empty_cache()
            continue
        rows += first.rows
    if first is not None:
        base = rows[0].median
        rows = [replace(row, ratio=row.median / base) for row in rows]
        yield f"**Methods**\n\n{table.markdown(replace(first, rows=tuple(rows)))}"
    if missing:
        yield f"Out of memory: {', '.join(missing)}."


def real_search(session: Session) -> Iterator[str]:
    """Search with IDARTS on CIFAR-10, for as many of its 50 epochs as there is time."""
    tiny = session.accelerator == "cpu"
    if not (tiny or session.args.data):
        return
    supernet = functools.partial(DartsSupernet, channels=8, layers=3, nodes=2)
    limit: dict[str, Any] = {"limit_train_batches": 2} if tiny else {}

    def search(epochs: int) -> searches.Found:
        return searches.idarts(
            _cifar(session, 8 if tiny else 256),
            epochs,
            supernet if tiny else DartsSupernet,
            accelerator=session.accelerator,
            **limit,
        )

    budget = min(session.args.search_minutes * 60, session.left - LAST)
    trial = search(1)
    epochs = 2 if tiny else max(1, min(searches.EPOCHS, int(budget / trial.seconds)))
    found = search(epochs)
    yield (
        f"**IDARTS on {'made-up images' if tiny else 'CIFAR-10'}**, {epochs} of "
        f"{searches.EPOCHS} epochs in {table.duration(found.seconds)}, TF32, graphs, supernet's "
        f"training accuracy {found.accuracy:.3f}\n\n```\n{found.genotype}\n```"
    )


def true_accuracies(session: Session) -> Iterator[str]:
    """Search with single-level GAEA in NAS-Bench-201 and look the cells up in its table."""
    tiny = session.accelerator == "cpu"
    if not (tiny or (session.args.table and session.args.data)):
        return
    truth = GroundTruth.load(session.args.table) if session.args.table else None
    limit: dict[str, Any] = {"limit_train_batches": 1} if tiny else {}
    lines = [
        "| seed | cell | true accuracy % | rank | time |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for seed in range(SEEDS):
        data = _cifar(session, 8 if tiny else 32, single_level=True)
        found = searches.gaea(data, seed, accelerator=session.accelerator, **limit)
        standing = truth.standing(found.genotype) if truth else None
        figures = (
            [f"{100 * standing.accuracy:.2f}", f"{standing.rank:,}"] if standing else ["-"] * 2
        )
        cell = to_string(found.genotype).replace("|", "\\|")
        seconds = table.duration(found.seconds)
        lines.append(f"| {seed} | {cell} | {' | '.join(figures)} | {seconds} |")
    yield "**Single-level GAEA on NAS-Bench-201**, 300 batches of 32\n\n" + "\n".join(lines)


def _cifar(session: Session, batch: int, **kwargs: Any) -> CIFAR10:
    """Return CIFAR-10 on the device, or random bytes if there is no data."""
    settings = {"batch_size": batch, "on_device": True, **kwargs}
    if session.args.data is None:
        return MadeUpCIFAR(train_size=8 * batch, **settings)
    return CIFAR10(root=session.args.data, **settings)


PARTS: tuple[Callable[[Session], Iterator[str]], ...] = (
    tables,
    real_search,
    true_accuracies,
    methods,
)


def put_into(page: str, section: str) -> str:
    """Replace the previous section of a page, or append the section."""
    text = f"{BEGIN}\n\n{section}\n\n{END}"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _: text, page, count=1)
    return f"{page.rstrip()}\n\n{text}\n"


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", metavar="ROOT", help="folder with cifar-10-batches-py")
    parser.add_argument("--table", type=Path, metavar="FILE", help="true accuracies, a CSV file")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="time for everything (%(default)s)"
    )
    parser.add_argument(
        "--search-minutes", type=float, default=3.0, help="time for the real search (%(default)s)"
    )
    parser.add_argument(
        "--compile", action="store_true", help="also measure compiled cells (some more minutes)"
    )
    parser.add_argument("--output", type=Path, help=f"page to update (default: {PAGE.name})")
    parser.add_argument(
        "--cpu-rehearsal", action="store_true", help="run everything on the CPU, in tiny sizes"
    )
    args = parser.parse_args(arguments)
    args.command = ["python", "benchmarks/gpu.py", *arguments]
    return args


def main(arguments: Sequence[str]) -> int:
    """Run all measurements; the page is updated after each, so that finished ones are kept."""
    args = read(arguments)
    rehearsal = args.cpu_rehearsal
    if not rehearsal and not torch.cuda.is_available():
        print("skipped: PyTorch finds no CUDA GPU here (--cpu-rehearsal runs tiny sizes)")
        return 0
    ends = time.monotonic() + 60 * args.minutes
    session = (
        Session(args, QUICK, QUICK, 1, "cpu", ends)
        if rehearsal
        else Session(args, FULL, replace(K4, name="cifar"), 10, "gpu", ends)
    )
    output = args.output or (None if rehearsal else PAGE)
    sections: list[str] = []
    with quiet():
        for part in PARTS:
            if session.over:
                sections.append(f"Left out for lack of time: {part.__name__.replace('_', ' ')}.")
                continue
            try:
                for section in part(session):
                    sections.append(section)
                    print(f"\n{section}\n", flush=True)
                    if output is not None:
                        page = output.read_text(encoding="utf-8") if output.exists() else ""
                        write_text(output, put_into(page, "\n\n".join(sections)))
            except NASError as error:
                print(f"gpu.py: {error}", file=sys.stderr)
                return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
