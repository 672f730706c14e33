"""Supernets: mixed cells, architecture parameters, and their relaxation to mixing weights."""

from nas_lightning.moved import missing
from nas_lightning.supernet.base import Supernet, SupernetFactory
from nas_lightning.supernet.execution import CellExecution, CellFunction
from nas_lightning.supernet.fast import fast_cell
from nas_lightning.supernet.mixing import Mixing
from nas_lightning.supernet.parameters import ArchitectureParameters
from nas_lightning.supernet.reference import reference_cell, reference_preprocess
from nas_lightning.supernet.relaxation import (
    EdgeRelaxation,
    EqualEdges,
    NodewiseSoftmax,
    OpRelaxation,
    Sample,
    SimplexEdges,
    SimplexOps,
    SoftmaxOps,
    Step,
)
from nas_lightning.supernet.simplex import onto_simplex
from nas_lightning.supernet.survivors import Survivors

__all__ = [
    "ArchitectureParameters",
    "CellExecution",
    "CellFunction",
    "EdgeRelaxation",
    "EqualEdges",
    "Mixing",
    "NodewiseSoftmax",
    "OpRelaxation",
    "Sample",
    "SimplexEdges",
    "SimplexOps",
    "SoftmaxOps",
    "Step",
    "Supernet",
    "SupernetFactory",
    "Survivors",
    "fast_cell",
    "onto_simplex",
    "reference_cell",
    "reference_preprocess",
]


def __getattr__(name: str) -> object:
    """Return a name that an earlier release exported here."""
    return missing(__name__, name)
