"""Measure changes that save time or memory against what they replaced.

`python benchmarks/pairs.py` prints a table of pairs. Both ways of a pair run in one process and
alternate, so that a slowdown of the machine affects both. Times are CPU seconds of one thread, as
medians; a ratio is the median of the ratios of the rounds. `--rounds` sets their number, and
`--parts` chooses parts:

- `retrain`: a training step with PyTorch's own memory format, and channels last.
- `arch`: a first-order architecture step that keeps what gradients of the weights would need, and
  one that does not; also its peak.
- `bf16`: a search step in bf16-mixed without and with the fast cell's gradients, and the same step
  in single precision over the latter. Equal on CPUs without `avx512_bf16`.
"""

import argparse
import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from nas_lightning.bench.counters import count
from nas_lightning.bench.harness import Harness, quiet
from nas_lightning.bench.settings import DIGITS, K1, K4, NB201, Setting, Wanted, groups
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import bilevel
from nas_lightning.supernet.fast.cpu import thresholds

SETTINGS = ((DIGITS, 64), (K4, 32), (K1, 16), (NB201, 32))
"""Settings, and samples in a batch."""
Row = tuple[str, str, str, str]
FROZEN: Any = bilevel.frozen
KEPT: Any = contextlib.nullcontext


def harness(setting: Setting, step: str, batch: int, precision: str = "32-true") -> Harness:
    """Set up a step of a setting with fast cells."""
    wanted = Wanted(steps=(step,), cells=("fast",), precisions=(precision,), batch=batch)  # type: ignore[arg-type] # names, not literals
    (group,) = groups(setting, wanted)
    return Harness(group.cases[0], "cpu")


def alternate(ways: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the CPU seconds of each way in each round, after one round to warm up."""
    found: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for seconds, way in zip(found, ways, strict=True):
            began = time.process_time()
            way()
            if number:
                seconds.append(time.process_time() - began)
    return found


def row(name: str, seconds: Sequence[Sequence[float]]) -> Row:
    """Return a row of the table for two ways."""
    before, after = seconds
    ratio = statistics.median(b / a for b, a in zip(before, after, strict=True))
    middle = [f"{1000 * statistics.median(values):,.0f} ms" for values in seconds]
    return name, *middle, f"{ratio:.2f}"  # type: ignore[return-value] # two of them


def retrain(rounds: int) -> Iterator[Row]:
    """Yield the pairs of memory formats."""
    for setting, batch in SETTINGS[:2] + SETTINGS[3:]:
        ways = []
        for last in (False, True):
            RetrainModule.channels_last = last  # setup reads it
            ways.append(harness(setting, "retrain", batch).step("retrain"))
        RetrainModule.channels_last = None
        yield row(f"retraining step, {setting.name}, batch {batch}", alternate(ways, rounds))


def arch(rounds: int) -> Iterator[Row]:
    """Yield the pairs of architecture steps, and their peaks."""
    for setting, batch in SETTINGS:
        made = harness(setting, "arch", batch)
        step = made.step("arch")

        def way(kept: bool, step: Callable[[], object]) -> None:
            bilevel.frozen = KEPT if kept else FROZEN
            step()

        ways = [functools.partial(way, kept, step) for kept in (True, False)]
        name = f"{setting.name} {made.case.name}, batch {batch}"
        there = [*made.module.parameters(), *made.module.buffers()]
        peaks = [count(one, there, made.device, 0).peak_bytes / 2**20 for one in ways]
        yield row(f"architecture step, {name}", alternate(ways, rounds))
        sizes = [f"{peak:,.1f} MiB" for peak in peaks]
        yield f"its peak, {name}", *sizes, f"{peaks[0] / peaks[1]:.2f}"  # type: ignore[misc] # two of them
    bilevel.frozen = FROZEN


def bf16(rounds: int) -> Iterator[Row]:
    """Yield the pairs in bfloat16, and in single precision over bfloat16."""
    able = thresholds.BFLOAT16
    for setting, batch in SETTINGS:
        single = harness(setting, "search", batch).step("search")
        half = harness(setting, "search", batch, "bf16-mixed").step("search")

        def way(own: bool, half: Callable[[], object]) -> None:
            thresholds.BFLOAT16 = own and able
            half()

        ways: list[Callable[[], object]] = [
            single,
            *(functools.partial(way, own, half) for own in (False, True)),
        ]
        fp32, before, after = alternate(ways, rounds)
        yield row(f"search step in bf16-mixed, {setting.name}, batch {batch}", [before, after])
        yield row("single precision over the same", [fp32, after])
    thresholds.BFLOAT16 = able


PARTS = {"retrain": retrain, "arch": arch, "bf16": bf16}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| figure | before | after | ratio |\n| --- | ---: | ---: | ---: |")
    with quiet():
        for part in args.parts:
            for found in PARTS[part](args.rounds):
                print("| " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
