"""The space of unrolled reconstructions for inverse problems."""

from nas_lightning.spaces.reconstruction.network import (
    DiscreteReconstruction,
    ReconstructionNetwork,
)
from nas_lightning.spaces.reconstruction.space import (
    RECONSTRUCTION_NAME,
    RECONSTRUCTION_PRIMITIVES,
    reconstruction_space,
)
from nas_lightning.spaces.reconstruction.supernet import MixedReconstruction, ReconstructionSupernet

__all__ = [
    "RECONSTRUCTION_NAME",
    "RECONSTRUCTION_PRIMITIVES",
    "DiscreteReconstruction",
    "MixedReconstruction",
    "ReconstructionNetwork",
    "ReconstructionSupernet",
    "reconstruction_space",
]
