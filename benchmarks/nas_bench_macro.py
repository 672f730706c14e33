"""Search NAS-Bench-Macro under budgets of multiply-adds, and look up what is found.

    python benchmarks/nas_bench_macro.py --table FILE [--root data] [--jobs 2]

Runs the configuration `cifar_nas_bench_macro` with `ResourcePenalty` for each method, budget and
seed, in processes of one thread each. FILE is the benchmark's table with the columns arch, acc1,
acc2, acc3, params and multiply_adds. A search that is done is not repeated. Prints a Markdown page:
every search with the true accuracy of its network, the best network within the budget and the mean
of those that cost nearly as much, the area that the networks of a seed dominate relative to that of
all, and the exact Pareto front.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.spaces.nas_bench_macro import to_digits
from nas_lightning.studies.benchmarks import NAS_BENCH_MACRO
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.pareto import front, hypervolume

METHODS: dict[str, dict[str, Any]] = {
    "binary_gates": {"class_path": "BinaryGates"},
    "gdas": {"class_path": "GDAS"},
}
PATH = "nas_lightning.spaces.nas_bench_macro.NasBenchMacroNetwork"
MILLION = 10**6
NEAR = 0.9
"""Random networks cost at least this share of a budget."""
DRAWS = 1000


@dataclass(frozen=True)
class Truth:
    """The benchmark's table.

    Attributes:
        accuracies: Mean accuracy of three trainings, in percent, by architecture string.
        costs: Multiply-adds by architecture string.
    """

    accuracies: dict[str, float]
    costs: dict[str, int]

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read a table."""
        found = GroundTruth.load(path, benchmark=NAS_BENCH_MACRO)
        with path.open(encoding="utf-8", newline="") as lines:
            costs = {row["arch"]: int(row["multiply_adds"]) for row in csv.DictReader(lines)}
        return cls({name: 100 * value for name, value in found.accuracies.items()}, costs)

    def within(self, budget: float, share: float = 0.0) -> list[str]:
        """Return the networks that cost at most a budget, and at least a share of it."""
        return [name for name, cost in self.costs.items() if share * budget <= cost <= budget]

    def points(self, names: Sequence[str]) -> list[tuple[float, float]]:
        """Return cost and accuracy of each network."""
        return [(self.costs[name], self.accuracies[name]) for name in names]


@dataclass(frozen=True)
class Search:
    """A search of the table.

    Attributes:
        method: A name in `METHODS`.
        budget: Largest number of multiply-adds.
        seed: Seed.
    """

    method: str
    budget: float
    seed: int

    def folder(self, root: Path) -> Path:
        """Return the run directory."""
        return root / f"{self.method}-{self.budget / MILLION:g}M-{self.seed}"

    def command(self, given: argparse.Namespace) -> list[str]:
        """Return the command that runs it."""
        budget: dict[str, Any] = {"resource": "macs", "budget": self.budget}
        budget |= {
            "form": "hinge",
            "weight": given.weight,
            "warmup": given.warmup,
            "growth": given.growth,
        }
        if given.channels != 32:  # the budget is for the networks of the table
            network = {"class_path": "ChoiceNetwork", "init_args": {"arguments": {"channels": 32}}}
            budget["network"] = network
        strategies = [
            {"class_path": "WarmUp", "init_args": {"epochs": given.warmup}},
            METHODS[self.method],
            {"class_path": "ResourcePenalty", "init_args": budget},
        ]
        arguments = {"network": PATH, "arguments": {"channels": given.channels}}
        supernet = {"class_path": "ChoiceSupernet", "init_args": arguments}
        return [
            *(sys.executable, "-m", "nas_lightning", "fit", "--config", "cifar_nas_bench_macro"),
            f"--model.strategies={json.dumps(strategies)}",
            f"--model.supernet={json.dumps(supernet)}",
            f"--model.arch_optimizer.lr={given.lr}",
            f"--seed_everything={self.seed}",
            f"--run_dir={self.folder(given.run_dir)}",
            f"--trainer.max_epochs={given.epochs}",
            f"--trainer.limit_train_batches={given.batches}",
            *("--trainer.limit_val_batches=0", "--trainer.accelerator=cpu", "--threads=1"),
            *given.data,
        ]

    def run(self, given: argparse.Namespace) -> str:
        """Search, unless that has been done, and return the architecture string."""
        folder = self.folder(given.run_dir)
        file = folder / "genotype.json"
        if not (folder / "done").exists():
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                self.command(given), capture_output=True, text=True, env=environment, check=False
            )
            if done.returncode:
                raise SystemExit(f"{folder}: the search failed\n{done.stderr}")
            (folder / "done").touch()
        return to_digits(Genotype.load(file))


def regret(truth: Truth, names: Sequence[str], most: float) -> float:
    """Return the share of the front's area, up to the largest budget, that networks do not reach.

    Accuracies count from that of the cheapest network.
    """
    cheapest = min(truth.costs, key=lambda name: truth.costs[name])
    reference = (most, truth.accuracies[cheapest])
    whole = hypervolume(truth.points(list(truth.costs)), reference)
    return 1 - hypervolume(truth.points(names), reference) / whole


def random_regret(truth: Truth, budgets: Sequence[float]) -> float:
    """Return the mean regret of one random network for each budget."""
    pools = [truth.within(budget, NEAR) for budget in budgets]
    draw = random.Random(0)
    found = (
        regret(truth, [draw.choice(pool) for pool in pools], max(budgets)) for _ in range(DRAWS)
    )
    return fmean(found)


def page(truth: Truth, found: dict[Search, str], budgets: Sequence[float]) -> Iterator[str]:
    """Yield the lines of a Markdown page."""
    yield "| method | budget | seed | network | multiply-adds | true accuracy | best | random |"
    yield "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    for search, name in found.items():
        best = max(truth.accuracies[other] for other in truth.within(search.budget))
        usual = fmean(truth.accuracies[other] for other in truth.within(search.budget, NEAR))
        cost = truth.costs[name]
        over = " (over)" if cost > search.budget else ""
        yield (
            f"| {search.method} | {search.budget / MILLION:g}M | {search.seed} | {name} | "
            f"{cost / MILLION:.1f}M{over} | {truth.accuracies[name]:.2f} % | {best:.2f} % | "
            f"{usual:.2f} % |"
        )
    yield from ("", "| | seed | area that is missing |", "| --- | ---: | ---: |")
    keys = dict.fromkeys((search.method, search.seed) for search in found)
    for method, seed in keys:
        names = [n for s, n in found.items() if (s.method, s.seed) == (method, seed)]
        yield f"| {method} | {seed} | {100 * regret(truth, names, max(budgets)):.2f} % |"
    yield f"| random, mean of {DRAWS} | | {100 * random_regret(truth, budgets):.2f} % |"
    yield from ("", "| exact front: multiply-adds | true accuracy |", "| ---: | ---: |")
    for least, accuracy in front(truth.points(list(truth.costs))):
        yield f"| {least / MILLION:.1f}M | {accuracy:.2f} % |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, look up and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="the benchmark's table")
    parser.add_argument("--root", default="data", help="folder of cifar-10-batches-py")
    parser.add_argument("--run_dir", type=Path, default=Path("runs/nas_bench_macro"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=float, default=[20, 30, 40, 55, 70],
                        help="millions of multiply-adds")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=5, help="epochs of the weights alone")
    parser.add_argument("--batches", type=int, default=60, help="batches of an epoch")
    parser.add_argument("--channels", type=int, default=16, help="of the supernet; 32 in the table")
    parser.add_argument("--lr", type=float, default=0.1, help="rate of α")
    parser.add_argument("--weight", type=float, default=1.0, help="weight of the penalty")
    parser.add_argument("--growth", type=float, default=2.0, help="its growth")
    parser.add_argument("--jobs", type=int, default=2, help="searches at a time")
    parser.add_argument("--data", help="arguments of other data than CIFAR-10 in --root")
    given = parser.parse_args(arguments)
    given.data = shlex.split(given.data or f"--data.root={shlex.quote(given.root)}")
    truth = Truth.load(given.table)
    budgets = [MILLION * budget for budget in given.budgets]
    searches = [Search(*each) for each in itertools.product(given.methods, budgets, given.seeds)]
    with ThreadPoolExecutor(given.jobs) as pool:
        names = list(pool.map(lambda search: search.run(given), searches))
    for line in page(truth, dict(zip(searches, names, strict=True)), budgets):
        print(line)


if __name__ == "__main__":
    main()
