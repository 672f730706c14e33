"""Count the memory of search steps in the space of ProxylessNAS by the number of candidates.

    python benchmarks/mobile_memory.py [--batch N] [--width FACTOR] [--blocks N…]

Takes one architecture step and one weight step on the CPU, for supernets with 2, 4 and 7 candidates
of each block: for all candidates mixed (DARTS), for `GDAS` and for `BinaryGates`. Prints a Markdown
table of the bytes that the forward passes keep for their backward passes, weights excluded, and of
the peak of all tensors that a step creates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import lightning

from nas_lightning.bench.case import Case, Parts
from nas_lightning.bench.counters import Dispatched, Saved
from nas_lightning.bench.harness import Harness, quiet
from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import ChoiceSupernet
from nas_lightning.strategies import GDAS, BinaryGates

PATH = "nas_lightning.spaces.mobile.MobileNetwork"
CANDIDATES = {
    2: ["mb6_7x7", "mb6_5x5"],
    4: ["mb6_7x7", "mb6_5x5", "mb6_3x3", "mb3_7x7"],
    7: ["mb6_7x7", "mb6_5x5", "mb6_3x3", "mb3_7x7", "mb3_5x5", "mb3_3x3", "skip_connect"],
}
"""Candidates by their number; the first two are the largest."""
METHODS: dict[str, Callable[[], list[SearchStrategy]]] = {
    "mixture": list,
    "gdas": lambda: [GDAS()],
    "binary_gates": lambda: [BinaryGates()],
}
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """Size of a supernet and of its batch.

    Attributes:
        batch: Samples in a batch.
        width: Factor of the channels.
        blocks: Blocks of each stage.
        pixels: Height and width of the images.
    """

    batch: int = 32
    width: float = 1.0
    blocks: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    pixels: int = 32


@dataclass(frozen=True)
class Memory:
    """Bytes of one step.

    Attributes:
        saved: Kept by the forward passes for the backward passes.
        peak: Largest number of bytes of tensors that the step created.
    """

    saved: int
    peak: int


def measure(method: str, number: int, size: Size) -> dict[str, Memory]:
    """Return the memory of the step `arch` and of the step `weight`.

    Args:
        method: A name in `METHODS`.
        number: Number of candidates, a key of `CANDIDATES`.
        size: Size of the search.
    """

    def make() -> Parts:
        lightning.seed_everything(0, verbose=False)
        data = Synthetic(
            num_classes=10,
            image_size=size.pixels,
            train_size=max(4 * size.batch, 20),
            batch_size=size.batch,
        )
        arguments = {
            "width": size.width,
            "blocks": list(size.blocks),
            "candidates": CANDIDATES[number],
            "small_images": True,
        }
        supernet = ChoiceSupernet(PATH, arguments)
        return Parts(SearchModule(data.data_spec, supernet, strategies=METHODS[method]()), data)

    found = {}
    with quiet():
        harness = Harness(Case(method, make, epochs=50), "cpu")
        for step in ("arch", "weight"):
            saved, take = Saved(harness.module.parameters()), harness.step(step)
            with saved.hooks(), Dispatched() as created:
                take()
            found[step] = Memory(saved.peak_bytes, created.peak_bytes)
    return found


def table(size: Size) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| method | candidates | arch step: saved | weight step: saved | peak |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for method in METHODS:
        for number in CANDIDATES:
            found = measure(method, number, size)
            peak = max(memory.peak for memory in found.values())
            cells = [found["arch"].saved, found["weight"].saved, peak]
            shown = " | ".join(f"{value / MIB:,.0f} MiB" for value in cells)
            yield f"| {method} | {number} | {shown} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=Size.batch)
    parser.add_argument("--width", type=float, default=Size.width)
    parser.add_argument("--blocks", type=int, nargs=6, default=Size.blocks)
    given = parser.parse_args(arguments)
    for line in table(Size(given.batch, given.width, tuple(given.blocks))):
        print(line, flush=True)


if __name__ == "__main__":
    main()
