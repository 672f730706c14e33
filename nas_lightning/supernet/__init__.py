"""Supernets: mixed cells, architecture parameters and how these become mixing weights."""

from nas_lightning.supernet.execution import CellExecution, CellFunction
from nas_lightning.supernet.fast import fast_cell
from nas_lightning.supernet.mixing import Mixing
from nas_lightning.supernet.nas_bench_201 import NasBench201Supernet
from nas_lightning.supernet.network import CellSupernet, DartsSupernet, Supernet, SupernetFactory
from nas_lightning.supernet.parameters import ArchitectureParameters
from nas_lightning.supernet.reconstruction import MixedReconstruction, ReconstructionSupernet
from nas_lightning.supernet.recurrent import MixedLanguageModel, RecurrentSupernet
from nas_lightning.supernet.reference import reference_cell, reference_preprocess
from nas_lightning.supernet.relaxation import (
    EdgeRelaxation,
    EqualEdges,
    NodewiseSoftmax,
    OpRelaxation,
    SimplexEdges,
    SimplexOps,
    SoftmaxOps,
)
from nas_lightning.supernet.simplex import onto_simplex

__all__ = [
    "ArchitectureParameters",
    "CellExecution",
    "CellFunction",
    "CellSupernet",
    "DartsSupernet",
    "EdgeRelaxation",
    "EqualEdges",
    "MixedLanguageModel",
    "MixedReconstruction",
    "Mixing",
    "NasBench201Supernet",
    "NodewiseSoftmax",
    "OpRelaxation",
    "ReconstructionSupernet",
    "RecurrentSupernet",
    "SimplexEdges",
    "SimplexOps",
    "SoftmaxOps",
    "Supernet",
    "SupernetFactory",
    "fast_cell",
    "onto_simplex",
    "reference_cell",
    "reference_preprocess",
]
