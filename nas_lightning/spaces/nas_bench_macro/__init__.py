"""The NAS-Bench-Macro space (Su et al., CVPR 2021)."""

from nas_lightning.spaces.nas_bench_macro.family import NasBenchMacro
from nas_lightning.spaces.nas_bench_macro.network import NasBenchMacroNetwork
from nas_lightning.spaces.nas_bench_macro.space import (
    NAS_BENCH_MACRO_CANDIDATES,
    NasBenchMacroSpace,
)
from nas_lightning.spaces.nas_bench_macro.strings import from_digits, to_digits

__all__ = [
    "NAS_BENCH_MACRO_CANDIDATES",
    "NasBenchMacro",
    "NasBenchMacroNetwork",
    "NasBenchMacroSpace",
    "from_digits",
    "to_digits",
]
