"""Retraining: the network of a genotype, from scratch."""

from nas_lightning.retrain.base import NetworkFactory, RetrainNetwork
from nas_lightning.retrain.cost import Cost, count_parameters, network_cost
from nas_lightning.retrain.module import RetrainModule
from nas_lightning.retrain.nas_bench_201 import NasBench201Network
from nas_lightning.retrain.network import CellNetwork, DartsNetwork
from nas_lightning.retrain.reconstruction import DiscreteReconstruction, ReconstructionNetwork
from nas_lightning.retrain.recurrent import DiscreteLanguageModel, RecurrentNetwork

__all__ = [
    "CellNetwork",
    "Cost",
    "DartsNetwork",
    "DiscreteLanguageModel",
    "DiscreteReconstruction",
    "NasBench201Network",
    "NetworkFactory",
    "ReconstructionNetwork",
    "RecurrentNetwork",
    "RetrainModule",
    "RetrainNetwork",
    "count_parameters",
    "network_cost",
]
