"""Search spaces of cells, and the genotypes in them."""

from nas_lightning.architecture.genotype import Genotype, state_name
from nas_lightning.architecture.genotype_cells import CellGenotype, NodeInput
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.architecture.random import random_genotype
from nas_lightning.architecture.space import Cell, Edge, SearchSpace, dense_edges

__all__ = [
    "Cell",
    "CellGenotype",
    "Edge",
    "Genotype",
    "NetworkFactory",
    "NodeInput",
    "RetrainNetwork",
    "SearchSpace",
    "dense_edges",
    "random_genotype",
    "state_name",
]
