"""Registry entry of networks with choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.architecture import SearchSpace
from nas_lightning.spaces.choice.network import ChoiceNetwork
from nas_lightning.spaces.choice.space import ChoiceSpace
from nas_lightning.spaces.choice.supernet import ChoiceSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Choices(SpaceFamily):
    """Networks with choices."""

    spaces = (ChoiceSpace,)
    supernet = ChoiceSupernet
    network = ChoiceNetwork
    sizes: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def supernet_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return the network that was searched, and its arguments."""
        assert isinstance(space, ChoiceSpace)
        return {"network": space.network, "arguments": space.arguments}
