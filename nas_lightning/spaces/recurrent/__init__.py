"""The DARTS space of recurrent cells (Liu et al., ICLR 2019)."""

from nas_lightning.spaces.recurrent.network import DiscreteLanguageModel, RecurrentNetwork
from nas_lightning.spaces.recurrent.space import (
    RECURRENT_NAME,
    RECURRENT_PRIMITIVES,
    recurrent_space,
)
from nas_lightning.spaces.recurrent.supernet import MixedLanguageModel, RecurrentSupernet

__all__ = [
    "RECURRENT_NAME",
    "RECURRENT_PRIMITIVES",
    "DiscreteLanguageModel",
    "MixedLanguageModel",
    "RecurrentNetwork",
    "RecurrentSupernet",
    "recurrent_space",
]
