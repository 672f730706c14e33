"""Measure the peak memory of search steps, by method and batch size.

    python docs/examples/memory.py [--small] [--methods NAME…] [--batches N…]

The script runs one architecture step and one weight step of each on the CPU, at the size of a
CIFAR-10 search with synthetic images, and prints a Markdown table. It counts the tensors created in
a step, as in `peak MiB` of `nas bench`. It does not count what existed before (weights, their
gradients, the state of the optimizer, the batch), nor memory that an operator allocates and frees
internally.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import lightning

from nas_lightning.bench.case import Case, Parts
from nas_lightning.bench.counters import Dispatched
from nas_lightning.bench.harness import Harness, quiet
from nas_lightning.bench.made_up import MadeUpCIFAR
from nas_lightning.bench.methods import METHODS, SINGLE_LEVEL
from nas_lightning.data import Synthetic
from nas_lightning.data.base import ImageData
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import AmendedGradient, CheckpointCells, ReferenceCell

MIB = 2**20
KNOWN: dict[str, Callable[[], list[SearchStrategy]]] = {
    **METHODS,
    "darts_checkpointed": lambda: [CheckpointCells()],
    "amended_checkpointed": lambda: [*METHODS["amended"](), CheckpointCells()],
    "amended_exact": lambda: [AmendedGradient(exact=True)],
}
"""Methods that `--methods` accepts: those of `nas bench`, and more."""
SHOWN = (
    "darts",
    "second_order",
    "amended",
    "neumann",
    "gaea",
    "gaea_single_level",
    "gdas",
    "pcdarts",
    "idarts",
    "darts_checkpointed",
)
"""Methods of the table by default."""


@dataclass(frozen=True)
class Size:
    """Size of the search.

    Attributes:
        supernet: Function that returns the factory of the supernet.
        data: Function from `batch_size`, `train_size` and so on to the data.
        batches: Batch sizes in the table.
        reference: True if cells are computed edge by edge.
    """

    supernet: Callable[[], DartsSupernet]
    data: Callable[..., ImageData]
    batches: tuple[int, ...]
    reference: bool = False


CIFAR = Size(functools.partial(DartsSupernet, channels=16, layers=8), MadeUpCIFAR, (16, 64))
SMALL = Size(
    functools.partial(DartsSupernet, channels=8, layers=3, nodes=1),
    functools.partial(Synthetic, image_size=16),
    (16,),
)
"""A size that takes seconds. Activations are still many times larger than the weights."""


@dataclass(frozen=True)
class Peak:
    """Peak number of bytes of the tensors created in a step.

    Attributes:
        arch: Peak of the architecture step.
        weight: Peak of the weight step.
        search: Peak of both steps together.
    """

    arch: int
    weight: int
    search: int


def case(size: Size, method: str, batch: int) -> Case:
    """Return the case of a search, which builds it on demand.

    Args:
        size: Size of the search.
        method: A name in `KNOWN`.
        batch: Samples in a batch.
    """

    def make() -> Parts:
        lightning.seed_everything(0, verbose=False)
        single = method in SINGLE_LEVEL
        data = size.data(batch_size=batch, train_size=max(4 * batch, 20), single_level=single)
        strategies = [*KNOWN[method](), *([ReferenceCell()] if size.reference else [])]
        return Parts(SearchModule(data.data_spec, size.supernet(), strategies=strategies), data)

    return Case(method, make, epochs=50)


def peak(size: Size, method: str, batch: int) -> Peak:
    """Run the two steps of a batch and record the peak of each."""
    with quiet():
        harness = Harness(case(size, method, batch), "cpu")
        with Dispatched() as search:
            with Dispatched() as arch:
                harness.step("arch")()
            with Dispatched() as weight:
                harness.step("weight")()
    return Peak(arch.peak_bytes, weight.peak_bytes, search.peak_bytes)


def table(size: Size, methods: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table; ratios are to the first method with the same batch."""
    yield "| method | batch | arch step | weight step | search step | arch ratio | search ratio |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for batch in size.batches:
        first: Peak | None = None
        for method in methods:
            found = peak(size, method, batch)
            first = first or found
            of_steps = (found.arch / MIB, found.weight / MIB, found.search / MIB)
            ratios = (found.arch / first.arch, found.search / first.search)
            cells = [f"{mib:,.0f} MiB" for mib in of_steps] + [f"{ratio:.2f}" for ratio in ratios]
            yield f"| {method} | {batch} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a small supernet, for testing")
    parser.add_argument("--reference", action="store_true", help="compute cells edge by edge")
    parser.add_argument("--methods", nargs="+", choices=KNOWN, default=SHOWN, metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, metavar="N")
    given = parser.parse_args(arguments)
    size = SMALL if given.small else CIFAR
    size = replace(size, reference=given.reference, batches=given.batches or size.batches)
    for line in table(size, given.methods):
        print(line, flush=True)


if __name__ == "__main__":
    main()
