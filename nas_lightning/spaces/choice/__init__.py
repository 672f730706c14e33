"""Networks of the user with `Choice` modules: space, supernet, and the network of a genotype."""

from nas_lightning.layers.choice import Choice
from nas_lightning.spaces.choice.family import Choices
from nas_lightning.spaces.choice.network import ChoiceNetwork, FrozenNetwork, freeze
from nas_lightning.spaces.choice.space import ChoiceSpace
from nas_lightning.spaces.choice.supernet import ChoiceSupernet, MixedNetwork

__all__ = [
    "Choice",
    "ChoiceNetwork",
    "ChoiceSpace",
    "ChoiceSupernet",
    "Choices",
    "FrozenNetwork",
    "MixedNetwork",
    "freeze",
]
