"""The DARTS space of convolutional cells (Liu et al., ICLR 2019)."""

from nas_lightning.spaces.darts.cell import SearchCell
from nas_lightning.spaces.darts.network import CellNetwork, DartsNetwork, DiscreteCell
from nas_lightning.spaces.darts.space import (
    DARTS_PRIMITIVES,
    INDIVIDUAL,
    cell_kinds,
    darts_space,
    individual_layers,
    individual_space,
    layer_kinds,
)
from nas_lightning.spaces.darts.supernet import CellSupernet, DartsSupernet

__all__ = [
    "DARTS_PRIMITIVES",
    "INDIVIDUAL",
    "CellNetwork",
    "CellSupernet",
    "DartsNetwork",
    "DartsSupernet",
    "DiscreteCell",
    "SearchCell",
    "cell_kinds",
    "darts_space",
    "individual_layers",
    "individual_space",
    "layer_kinds",
]
