"""The space of unrolled reconstructions for inverse problems."""

from nas_lightning.spaces.reconstruction.family import (
    Reconstruction,
)
from nas_lightning.spaces.reconstruction.network import (
    DiscreteReconstruction,
    ReconstructionNetwork,
)
from nas_lightning.spaces.reconstruction.space import (
    RECONSTRUCTION_PRIMITIVES,
    ReconstructionSpace,
)
from nas_lightning.spaces.reconstruction.supernet import (
    MixedReconstruction,
    ReconstructionSupernet,
)

__all__ = [
    "RECONSTRUCTION_PRIMITIVES",
    "DiscreteReconstruction",
    "MixedReconstruction",
    "Reconstruction",
    "ReconstructionNetwork",
    "ReconstructionSpace",
    "ReconstructionSupernet",
]
