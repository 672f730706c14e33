"""Registry entry of the space of ProxylessNAS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nas_lightning.spaces.choice.family import Choices
from nas_lightning.spaces.mobile.published import MOBILE_PUBLISHED
from nas_lightning.spaces.mobile.space import MobileSpace
from nas_lightning.spaces.registry import register_space


@register_space
class Mobile(Choices):
    """The space of ProxylessNAS."""

    spaces = (MobileSpace,)
    data: ClassVar[Mapping[str, Any]] = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
    published = MOBILE_PUBLISHED
