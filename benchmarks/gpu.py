"""What a search costs on this GPU, in one command, planned for eight minutes.

    python benchmarks/gpu.py                                    # made-up images
    python benchmarks/gpu.py --data data --table accuracies.csv # also real searches on CIFAR-10

Runs from a checkout; needs torch, torchvision, lightning and torchmetrics, no command line of nas.
Rewrites the section on this GPU in docs/benchmarks.md. `--cpu-rehearsal` goes through all parts
with tiny sizes on the CPU and only prints. `--compile` adds compiled cells: minutes more.
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
"""Seconds: with fewer left, nothing more is begun."""


@dataclass(frozen=True)
class Plan:
    """What is run: on a GPU, or rehearsed.

    Attributes:
        args: The command line.
        full: The setting of the table.
        memory: The setting in which methods are compared.
        repeat: Repetitions.
        accelerator: Of the trainer.
        ends: When all must be over, on the clock of `time.monotonic`.
    """

    args: argparse.Namespace
    full: Setting
    memory: Setting
    repeat: int
    accelerator: str
    ends: float

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.ends - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether nothing more should be begun; a rehearsal has time."""
        return self.accelerator == "gpu" and self.left < LAST

    def measure(self, setting: Setting, wanted: Wanted, repeat: int | None = None) -> Results:
        """Figures of a setting."""
        options = Options(repeat or self.repeat, 2 if repeat is None else 0, self.accelerator)
        return measure(groups(setting, wanted), options)


def tables(plan: Plan) -> Iterator[str]:
    """Cells and precisions, data, a whole fit, graphs, and compiled cells if they are asked for."""
    precisions = ("ieee", "tf32", "bf16-mixed")
    cells = plan.measure(plan.full, Wanted(steps=("search",), precisions=precisions))
    yield f"{table.machine_line(cells)}.\n\nCommand: `{shlex.join(plan.args.command)}`"
    yield f"**Cells and precisions**, ratios to the first case\n\n{table.markdown(cells)}"
    fit = Wanted(("fit", "data"), cells=("fast",), precisions=("bf16-mixed",), on_device=True)
    found = plan.measure(plan.full, fit)
    yield f"**A batch in `Trainer.fit`, data on the device**\n\n{table.markdown(found)}"
    graphs = Wanted(
        ("search", "weight"),
        cells=("fast",),
        precisions=precisions[1:],
        graphs=True,
        on_device=True,
    )
    yield f"**CUDA graphs**\n\n{table.markdown(plan.measure(plan.full, graphs))}"
    if plan.args.compile:
        backend = "inductor" if plan.accelerator == "gpu" else "eager"
        compiled = Wanted(("search",), cells=("fast",), precisions=("tf32",), compile=backend)
        yield f"**Compiled cells**\n\n{table.markdown(plan.measure(plan.full, compiled))}"


def methods(plan: Plan) -> Iterator[str]:
    """Time and memory of every method, one at a time: some need more than there is."""
    rows: list[Any] = []
    missing: list[str] = []
    first: Results | None = None
    for method in known.METHODS:
        if plan.over:
            yield f"The time was over before {method}."
            break
        wanted = Wanted(("search",), (method,), ("fast",), ("bf16-mixed",))
        try:
            first = plan.measure(plan.memory, wanted, repeat=3)
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


def real_search(plan: Plan) -> Iterator[str]:
    """IDARTS on CIFAR-10, as many of its 50 epochs as there is time for."""
    tiny = plan.accelerator == "cpu"
    if not (tiny or plan.args.data):
        return
    supernet = functools.partial(DartsSupernet, channels=8, layers=3, nodes=2)
    limit: dict[str, Any] = {"limit_train_batches": 2} if tiny else {}

    def search(epochs: int) -> searches.Found:
        return searches.idarts(
            _cifar(plan, 8 if tiny else 256),
            epochs,
            supernet if tiny else DartsSupernet,
            accelerator=plan.accelerator,
            **limit,
        )

    budget = min(plan.args.search_minutes * 60, plan.left - LAST)
    trial = search(1)
    epochs = 2 if tiny else max(1, min(searches.EPOCHS, int(budget / trial.seconds)))
    found = search(epochs)
    yield (
        f"**IDARTS on {'made-up images' if tiny else 'CIFAR-10'}**, {epochs} of "
        f"{searches.EPOCHS} epochs in {table.duration(found.seconds)}, TF32, graphs, supernet's "
        f"training accuracy {found.accuracy:.3f}\n\n```\n{found.genotype}\n```"
    )


def true_accuracies(plan: Plan) -> Iterator[str]:
    """Single-level GAEA in the NAS-Bench-201 space, judged by the benchmark's table."""
    tiny = plan.accelerator == "cpu"
    if not (tiny or (plan.args.table and plan.args.data)):
        return
    truth = GroundTruth.load(plan.args.table) if plan.args.table else None
    limit: dict[str, Any] = {"limit_train_batches": 1} if tiny else {}
    lines = [
        "| seed | cell | true accuracy % | rank | time |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for seed in range(SEEDS):
        data = _cifar(plan, 8 if tiny else 32, single_level=True)
        found = searches.gaea(data, seed, accelerator=plan.accelerator, **limit)
        standing = truth.standing(found.genotype) if truth else None
        told = (f"{100 * standing.accuracy:.2f}", f"{standing.rank:,}") if standing else ("-", "-")
        cell = to_string(found.genotype).replace("|", "\\|")
        lines.append(f"| {seed} | {cell} | {' | '.join(told)} | {table.duration(found.seconds)} |")
    yield "**Single-level GAEA on NAS-Bench-201**, 300 batches of 32\n\n" + "\n".join(lines)


def _cifar(plan: Plan, batch: int, **kwargs: Any) -> CIFAR10:
    """CIFAR-10 on the device, or random bytes in its place."""
    settings = {"batch_size": batch, "on_device": True, **kwargs}
    if plan.args.data is None:
        return MadeUpCIFAR(train_size=8 * batch, **settings)
    return CIFAR10(root=plan.args.data, **settings)


PARTS: tuple[Callable[[Plan], Iterator[str]], ...] = (tables, real_search, true_accuracies, methods)


def put_into(page: str, section: str) -> str:
    """A page with the section in the place of the one before, or at its end."""
    text = f"{BEGIN}\n\n{section}\n\n{END}"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _: text, page, count=1)
    return f"{page.rstrip()}\n\n{text}\n"


def read(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", metavar="ROOT", help="folder with cifar-10-batches-py")
    parser.add_argument("--table", type=Path, metavar="FILE", help="true accuracies, a CSV file")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of all (%(default)s)")
    parser.add_argument(
        "--search-minutes", type=float, default=3.0, help="of the real search (%(default)s)"
    )
    parser.add_argument("--compile", action="store_true", help="also compiled cells: minutes more")
    parser.add_argument("--output", type=Path, help=f"page to update (default: {PAGE.name})")
    parser.add_argument("--cpu-rehearsal", action="store_true", help="tiny sizes, on the CPU")
    args = parser.parse_args(arguments)
    args.command = ["python", "benchmarks/gpu.py", *arguments]
    return args


def main(arguments: Sequence[str]) -> int:
    """Run all parts; what is finished is on the page whatever comes next."""
    args = read(arguments)
    rehearsal = args.cpu_rehearsal
    if not rehearsal and not torch.cuda.is_available():
        print("skipped: PyTorch finds no CUDA GPU here (--cpu-rehearsal runs tiny sizes)")
        return 0
    ends = time.monotonic() + 60 * args.minutes
    plan = (
        Plan(args, QUICK, QUICK, 1, "cpu", ends)
        if rehearsal
        else Plan(args, FULL, replace(K4, name="cifar"), 10, "gpu", ends)
    )
    output = args.output or (None if rehearsal else PAGE)
    sections: list[str] = []
    with quiet():
        for part in PARTS:
            if plan.over:
                sections.append(f"Left out, the time was over: {part.__name__.replace('_', ' ')}.")
                continue
            try:
                for section in part(plan):
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
