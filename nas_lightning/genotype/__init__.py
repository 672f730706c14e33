"""Genotypes and the published cells."""

from nas_lightning.genotype.nas_bench_201 import from_string, to_string
from nas_lightning.genotype.published import PUBLISHED, load_genotype
from nas_lightning.genotype.random import random_genotype
from nas_lightning.genotype.types import CellGenotype, Genotype, NodeInput, state_name

__all__ = [
    "PUBLISHED",
    "CellGenotype",
    "Genotype",
    "NodeInput",
    "from_string",
    "load_genotype",
    "random_genotype",
    "state_name",
    "to_string",
]
