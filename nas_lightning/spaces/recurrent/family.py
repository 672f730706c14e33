"""Registry entry of the DARTS space of recurrent cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.genotype_text import genotype_of, read_call, read_edges
from nas_lightning.spaces.recurrent.network import RecurrentNetwork
from nas_lightning.spaces.recurrent.published import RECURRENT_PUBLISHED
from nas_lightning.spaces.recurrent.space import RecurrentSpace
from nas_lightning.spaces.recurrent.supernet import RecurrentSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Recurrent(SpaceFamily):
    """The DARTS space of recurrent cells."""

    spaces = (RecurrentSpace,)
    supernet = RecurrentSupernet
    network = RecurrentNetwork
    sizes: ClassVar[Mapping[str, str]] = {"channels": "hidden"}
    data: ClassVar[Mapping[str, Any]] = {"num_tokens": 10_000}  # words of the Penn Treebank
    data_sizes: ClassVar[Mapping[str, str]] = {"classes": "num_tokens"}
    published = RECURRENT_PUBLISHED

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read `Genotype(recurrent=[…], concat=…)`."""
        call = read_call(text)
        if call is None or "recurrent" not in call:
            return None
        nodes = read_edges(call["recurrent"], "recurrent", inputs=1, each=1)
        cell = {"nodes": nodes, "concat": call.get("concat")}
        return genotype_of({"recurrent": cell}, RecurrentSpace())
