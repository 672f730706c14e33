"""Registry entry of the DARTS space, with shared or individually searched cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.architecture.genotype_text import genotype_of, read_call, read_edges
from nas_lightning.spaces.darts.network import DartsNetwork
from nas_lightning.spaces.darts.published import DARTS_PUBLISHED
from nas_lightning.spaces.darts.space import DartsSpace, IndividualDartsSpace
from nas_lightning.spaces.darts.supernet import DartsSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Darts(SpaceFamily):
    """The DARTS space of convolutional cells, with shared or individually searched cells."""

    spaces = (DartsSpace, IndividualDartsSpace)
    supernet = DartsSupernet
    network = DartsNetwork
    imagenet: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "network": {"stem": "imagenet", "channels": 48, "layers": 14},
        "supernet": {"stem": "imagenet"},
        "data": {"num_classes": 1000, "image_size": 224},
    }
    shown = ("stem",)
    published = DARTS_PUBLISHED

    @classmethod
    def supernet_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return the number of layers if cells are searched individually."""
        if isinstance(space, IndividualDartsSpace):
            return {"layers": space.layers, "individual": True}
        return {}

    @classmethod
    def network_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return the number of layers if cells were searched individually."""
        return {"layers": space.layers} if isinstance(space, IndividualDartsSpace) else {}

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read `Genotype(normal=[…], normal_concat=…, reduce=[…], reduce_concat=…)`."""
        call = read_call(text)
        if call is None or "recurrent" in call:
            return None
        space = DartsSpace()
        cells = {
            kind: {
                "nodes": read_edges(call.get(kind), kind, inputs=2, each=2),
                "concat": call.get(f"{kind}_concat"),
            }
            for kind in space.kinds
        }
        return genotype_of(cells, space)
