"""The search: its plan, its two steps and the base class of strategies."""

from nas_lightning.search.bilevel import ArchGradient, BilevelProblem, first_order
from nas_lightning.search.discretize import Discretizer, one_hot, strongest_edges
from nas_lightning.search.genotype_writer import GenotypeWriter
from nas_lightning.search.module import SearchModule
from nas_lightning.search.own_network import OwnNetwork
from nas_lightning.search.plan import SearchPlan, no_sampling
from nas_lightning.search.slots import (
    ARCH_GRADIENT,
    ARCH_OPTIMIZER,
    ARCH_STEP,
    CELL_EXECUTION,
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    OP_SAMPLING,
    OUTER_BATCH,
    PARTIAL_CHANNELS,
    STEP_ORDER,
    WEIGHT_MIXING,
    Slot,
)
from nas_lightning.search.strategy import ArchStep, SearchStrategy
from nas_lightning.search.weight_mixing import WeightMixing

__all__ = [
    "ARCH_GRADIENT",
    "ARCH_OPTIMIZER",
    "ARCH_STEP",
    "CELL_EXECUTION",
    "DISCRETIZER",
    "EDGE_RELAXATION",
    "OP_RELAXATION",
    "OP_SAMPLING",
    "OUTER_BATCH",
    "PARTIAL_CHANNELS",
    "STEP_ORDER",
    "WEIGHT_MIXING",
    "ArchGradient",
    "ArchStep",
    "BilevelProblem",
    "Discretizer",
    "GenotypeWriter",
    "OwnNetwork",
    "SearchModule",
    "SearchPlan",
    "SearchStrategy",
    "Slot",
    "WeightMixing",
    "first_order",
    "no_sampling",
    "one_hot",
    "strongest_edges",
]
