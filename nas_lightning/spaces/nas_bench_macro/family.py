"""Registry entry of the NAS-Bench-Macro space."""

from __future__ import annotations

from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.spaces.choice.family import Choices
from nas_lightning.spaces.nas_bench_macro.space import NasBenchMacroSpace
from nas_lightning.spaces.nas_bench_macro.strings import from_digits, is_digits, to_digits
from nas_lightning.spaces.registry import register_space


@register_space
class NasBenchMacro(Choices):
    """The NAS-Bench-Macro space."""

    spaces = (NasBenchMacroSpace,)

    @classmethod
    def describe(cls, genotype: Genotype) -> dict[str, Any]:
        """Return the architecture string of a genotype."""
        return {"string": to_digits(genotype)}

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read an architecture string."""
        found = text.strip()
        return from_digits(found) if is_digits(found) else None
