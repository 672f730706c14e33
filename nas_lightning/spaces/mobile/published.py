"""Published networks of ProxylessNAS.

These are facts, not code: expansion and kernel of each block that the authors released.
"""

from __future__ import annotations

from typing import Any

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.spaces.mobile.network import BLOCKS, MOBILE_CANDIDATES, PATH, SKIP
from nas_lightning.spaces.mobile.space import MobileSpace


def _choices() -> dict[str, list[str]]:
    """Return the candidates of each block; the first of a stage cannot be skipped."""
    rows = [row for number in BLOCKS for row in range(number)]
    return {
        f"block_{index:02d}": list(MOBILE_CANDIDATES if row else MOBILE_CANDIDATES[:-1])
        for index, row in enumerate(rows)
    }


def _published(target: str, text: str, **arguments: Any) -> Genotype:
    """Read `"35 - | 67"`: expansion and kernel of each block, `-` for none; bars between stages."""
    names = [
        SKIP if block == "-" else f"mb{block[0]}_{block[1]}x{block[1]}"
        for block in text.replace("|", " ").split()
    ]
    choices = _choices()
    skips = {kind: [SKIP] for kind, names in choices.items() if SKIP in names}
    cells = {
        kind: CellGenotype(((NodeInput(name, 0),),), (1,), 1)
        for kind, name in zip(choices, names, strict=True)
    }
    space = MobileSpace(PATH, arguments, choices, skips)
    source = f"ProxylessNAS, searched on ImageNet for {target} (Cai et al., ICLR 2019)"
    return Genotype(space, cells, provenance={"source": source})


MOBILE_PUBLISHED = {
    "PROXYLESS_GPU": _published(
        "a GPU",
        "35 - - - | 37 - - 33 | 67 - - 35 | 65 - 33 35 | 67 67 67 65 | 67",
        width=1.35,
    ),
    "PROXYLESS_CPU": _published(
        "a CPU",
        "63 33 33 33 | 63 33 33 35 | 63 - - 33 | 65 33 33 33 | 65 35 35 33 | 65",
        width=1.12,
    ),
    "PROXYLESS_MOBILE": _published(
        "a phone",
        "35 33 - - | 37 33 35 35 | 67 35 35 35 | 65 35 35 35 | 67 67 37 37 | 67",
        channels=[32, 40, 80, 96, 192, 320],
    ),
}
"""Published networks by name. Their widths are those of the released files; the width of the first
stage of the last one is not that of the paper's space."""
