"""Registry entry of the space of unrolled reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.operators import Identity
from nas_lightning.spaces.reconstruction.network import ReconstructionNetwork
from nas_lightning.spaces.reconstruction.space import ReconstructionSpace
from nas_lightning.spaces.reconstruction.supernet import ReconstructionSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Reconstruction(SpaceFamily):
    """The space of unrolled reconstructions."""

    spaces = (ReconstructionSpace,)
    supernet = ReconstructionSupernet
    network = ReconstructionNetwork
    sizes: ClassVar[Mapping[str, str]] = {"channels": "channels"}
    data: ClassVar[Mapping[str, Any]] = {"in_channels": 1, "operator": Identity().to_config()}
    data_sizes: ClassVar[Mapping[str, str]] = {}
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "_for_signals": {"dims": 1},
        "_for_images": {"dims": 2},
    }

    @classmethod
    def inputs(cls, data_spec: Mapping[str, Any]) -> None:
        """Return `None`: only parameters are counted.

        Operations on a state share the gradient of its data term, so multiply-adds do not add up.
        """
