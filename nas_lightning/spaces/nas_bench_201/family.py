"""Registry entry of the NAS-Bench-201 space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.architecture import Genotype
from nas_lightning.spaces.nas_bench_201.network import NasBench201Network
from nas_lightning.spaces.nas_bench_201.space import NasBench201Space
from nas_lightning.spaces.nas_bench_201.strings import find_string, from_string, to_string
from nas_lightning.spaces.nas_bench_201.supernet import NasBench201Supernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class NasBench201(SpaceFamily):
    """The NAS-Bench-201 space."""

    spaces = (NasBench201Space,)
    supernet = NasBench201Supernet
    network = NasBench201Network
    sizes: ClassVar[Mapping[str, str]] = {"channels": "channels", "layers": "cells"}

    @classmethod
    def describe(cls, genotype: Genotype) -> dict[str, Any]:
        """Return the architecture string of a genotype."""
        return {"string": to_string(genotype)}

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read an architecture string, alone or in a line of a log."""
        found = find_string(text)
        return None if found is None else from_string(found)
