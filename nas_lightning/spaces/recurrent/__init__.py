"""The DARTS space of recurrent cells (Liu et al., ICLR 2019)."""

from nas_lightning.spaces.recurrent.family import (
    Recurrent,
)
from nas_lightning.spaces.recurrent.network import (
    DiscreteLanguageModel,
    RecurrentNetwork,
)
from nas_lightning.spaces.recurrent.space import (
    RECURRENT_PRIMITIVES,
    RecurrentSpace,
)
from nas_lightning.spaces.recurrent.supernet import (
    MixedLanguageModel,
    RecurrentSupernet,
)

__all__ = [
    "RECURRENT_PRIMITIVES",
    "DiscreteLanguageModel",
    "MixedLanguageModel",
    "Recurrent",
    "RecurrentNetwork",
    "RecurrentSpace",
    "RecurrentSupernet",
]
