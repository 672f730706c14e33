"""The space of ProxylessNAS."""

from __future__ import annotations

from nas_lightning.spaces.choice.space import ChoiceSpace


class MobileSpace(ChoiceSpace):
    """The choices of a `MobileNetwork`, one for each searched block: `block_00`, `block_01`, …."""
