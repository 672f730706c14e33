"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020)."""

from nas_lightning.spaces.nas_bench_201.network import NasBench201Network
from nas_lightning.spaces.nas_bench_201.space import NAS_BENCH_201_PRIMITIVES, nas_bench_201_space
from nas_lightning.spaces.nas_bench_201.strings import from_string, to_string
from nas_lightning.spaces.nas_bench_201.supernet import (
    NasBench201Supernet,
    PlainSearchCell,
    PlainSupernet,
)

__all__ = [
    "NAS_BENCH_201_PRIMITIVES",
    "NasBench201Network",
    "NasBench201Supernet",
    "PlainSearchCell",
    "PlainSupernet",
    "from_string",
    "nas_bench_201_space",
    "to_string",
]
