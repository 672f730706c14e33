"""Architecture strings of NAS-Bench-Macro: eight digits such as `01221022`."""

from __future__ import annotations

import re

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.architecture.genotype_cells import chosen_candidates
from nas_lightning.errors import GenotypeError
from nas_lightning.spaces.nas_bench_macro.space import (
    NAS_BENCH_MACRO_CANDIDATES,
    NasBenchMacroSpace,
    default_space,
)
from nas_lightning.text import shown


def from_digits(text: str) -> Genotype:
    """Read an architecture string: the candidate of each layer by its number, first layer first.

    Raises:
        GenotypeError: The text is not eight digits from 0 to 2.
    """
    if not is_digits(text):
        reason = f"expected 8 digits from 0 to 2, found {shown(text)}"
        raise GenotypeError(reason, "digits", file="the architecture string")
    space = default_space()
    cells = {
        kind: CellGenotype(((NodeInput(NAS_BENCH_MACRO_CANDIDATES[int(digit)], 0),),), (1,), 1)
        for kind, digit in zip(space.kinds, text, strict=True)
    }
    return Genotype(space, cells, provenance={"source": "architecture string"})


def to_digits(genotype: Genotype) -> str:
    """Return the architecture string of a genotype.

    Raises:
        GenotypeError: The genotype belongs to another space.
    """
    if not isinstance(genotype.space, NasBenchMacroSpace):
        raise GenotypeError("only NAS-Bench-Macro has strings of digits", "$.space")
    chosen = chosen_candidates(genotype.cells)
    return "".join(str(NAS_BENCH_MACRO_CANDIDATES.index(name)) for name in chosen.values())


def is_digits(text: str) -> bool:
    """Return True if a text is an architecture string."""
    return re.fullmatch(r"[0-2]{8}", text) is not None
