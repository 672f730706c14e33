"""Registry entry of the DARTS space of recurrent cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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
