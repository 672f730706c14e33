"""Retraining: the network of a genotype, from scratch."""

from nas_lightning.retrain.base import NetworkFactory, RetrainNetwork
from nas_lightning.retrain.cost import Cost, count_parameters, network_cost
from nas_lightning.retrain.module import RetrainModule
from nas_lightning.retrain.nas_bench_201 import NasBench201Network
from nas_lightning.retrain.network import CellNetwork, DartsNetwork
from nas_lightning.retrain.recurrent import DiscreteLanguageModel, RecurrentNetwork

__all__ = [
    "CellNetwork",
    "Cost",
    "DartsNetwork",
    "DiscreteLanguageModel",
    "NasBench201Network",
    "NetworkFactory",
    "RecurrentNetwork",
    "RetrainModule",
    "RetrainNetwork",
    "count_parameters",
    "network_cost",
]
