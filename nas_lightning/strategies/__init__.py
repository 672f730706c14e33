"""Search strategies, one idea a file."""

from nas_lightning.strategies.amended import AmendedGradient
from nas_lightning.strategies.backtracking import Backtracking
from nas_lightning.strategies.edge_normalization import EdgeNormalization
from nas_lightning.strategies.exponentiated_gradient import (
    ExponentiatedGradient,
    ExponentiatedGradientOptimizer,
)
from nas_lightning.strategies.neumann import Neumann
from nas_lightning.strategies.partial_channels import PartialChannels
from nas_lightning.strategies.unrolled import Unrolled
from nas_lightning.strategies.warmup import WarmUp

__all__ = [
    "AmendedGradient",
    "Backtracking",
    "EdgeNormalization",
    "ExponentiatedGradient",
    "ExponentiatedGradientOptimizer",
    "Neumann",
    "PartialChannels",
    "Unrolled",
    "WarmUp",
]
