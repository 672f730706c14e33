"""The NAS-Bench-Macro space (Su et al., CVPR 2021)."""

from __future__ import annotations

import functools

from nas_lightning.spaces.choice.space import ChoiceSpace

NAS_BENCH_MACRO_CANDIDATES = ("identity", "mb3_3x3", "mb6_5x5")
"""Candidates of a layer, in the order of the benchmark's digits 0, 1 and 2."""
STAGES = (2, 3, 3)
"""Layers of each stage; the first of a stage halves the image and doubles the channels."""
PATH = "nas_lightning.spaces.nas_bench_macro.NasBenchMacroNetwork"


class NasBenchMacroSpace(ChoiceSpace):
    """The choices of a `NasBenchMacroNetwork`: 8 layers, 3^8 = 6,561 networks."""


@functools.cache
def default_space() -> NasBenchMacroSpace:
    """Return the space of the benchmark's own networks."""
    rows = [row for number in STAGES for row in range(number)]
    names = [f"layer_{index}" for index in range(len(rows))]
    choices = {name: list(NAS_BENCH_MACRO_CANDIDATES) for name in names}
    skips = {name: ["identity"] for name, row in zip(names, rows, strict=True) if row}
    return NasBenchMacroSpace(PATH, {}, choices, skips)
