"""The benchmarks whose tables of true accuracies can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.spaces.nas_bench_201 import NasBench201Space, from_string, to_string
from nas_lightning.spaces.nas_bench_macro import NasBenchMacroSpace, from_digits, to_digits


@dataclass(frozen=True)
class Benchmark:
    """A space all of whose networks have been trained.

    Attributes:
        name: Name of the space.
        space: Class of the space.
        columns: Columns of the table whose mean is the accuracy, unless another one is chosen.
        read: Architecture string → genotype.
        write: Genotype → architecture string.
        none: The operation that cuts an edge, if there is one.
    """

    name: str
    space: type[SearchSpace]
    columns: tuple[str, ...]
    read: Callable[[str], Genotype]
    write: Callable[[Genotype], str]
    none: str | None = None


NAS_BENCH_201 = Benchmark(
    "nas_bench_201", NasBench201Space, ("cifar10_test",), from_string, to_string, "none"
)
NAS_BENCH_MACRO = Benchmark(
    "nas_bench_macro", NasBenchMacroSpace, ("acc1", "acc2", "acc3"), from_digits, to_digits
)
BENCHMARKS = {found.name: found for found in (NAS_BENCH_201, NAS_BENCH_MACRO)}
"""Benchmarks by name."""


def benchmark_of(string: str) -> Benchmark:
    """Return the benchmark that an architecture string looks like."""
    return NAS_BENCH_MACRO if string.strip().isdigit() else NAS_BENCH_201
