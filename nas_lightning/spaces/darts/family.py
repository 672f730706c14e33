"""Registry entry of the DARTS space, with shared or individually searched cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.architecture import SearchSpace
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
