"""The NAS-Bench-201 space (Dong and Yang, ICLR 2020)."""

from nas_lightning.spaces.nas_bench_201.family import (
    NasBench201,
)
from nas_lightning.spaces.nas_bench_201.network import (
    NasBench201Network,
    PlainCell,
    PlainNetwork,
)
from nas_lightning.spaces.nas_bench_201.skeleton import (
    Skeleton,
)
from nas_lightning.spaces.nas_bench_201.space import (
    NAS_BENCH_201_PRIMITIVES,
    NasBench201Space,
)
from nas_lightning.spaces.nas_bench_201.strings import (
    from_string,
    to_string,
)
from nas_lightning.spaces.nas_bench_201.supernet import (
    NasBench201Supernet,
    PlainSearchCell,
    PlainSupernet,
)

__all__ = [
    "NAS_BENCH_201_PRIMITIVES",
    "NasBench201",
    "NasBench201Network",
    "NasBench201Space",
    "NasBench201Supernet",
    "PlainCell",
    "PlainNetwork",
    "PlainSearchCell",
    "PlainSupernet",
    "Skeleton",
    "from_string",
    "to_string",
]
