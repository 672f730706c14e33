"""The DARTS space of convolutional cells (Liu et al., ICLR 2019)."""

from nas_lightning.spaces.darts.cell import (
    SearchCell,
)
from nas_lightning.spaces.darts.family import (
    Darts,
)
from nas_lightning.spaces.darts.network import (
    CellNetwork,
    DartsNetwork,
    DiscreteCell,
)
from nas_lightning.spaces.darts.space import (
    DARTS_PRIMITIVES,
    DartsSpace,
    IndividualDartsSpace,
    cell_kinds,
    layer_kinds,
)
from nas_lightning.spaces.darts.supernet import (
    CellSupernet,
    DartsSupernet,
)

__all__ = [
    "DARTS_PRIMITIVES",
    "CellNetwork",
    "CellSupernet",
    "Darts",
    "DartsNetwork",
    "DartsSpace",
    "DartsSupernet",
    "DiscreteCell",
    "IndividualDartsSpace",
    "SearchCell",
    "cell_kinds",
    "layer_kinds",
]
