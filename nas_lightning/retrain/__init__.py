"""Retraining: the network of a genotype, from scratch."""

from nas_lightning.retrain.base import NetworkFactory, RetrainNetwork
from nas_lightning.retrain.cost import Cost, count_parameters, network_cost
from nas_lightning.retrain.module import RetrainModule
from nas_lightning.retrain.network import CellNetwork, DartsNetwork

__all__ = [
    "CellNetwork",
    "Cost",
    "DartsNetwork",
    "NetworkFactory",
    "RetrainModule",
    "RetrainNetwork",
    "count_parameters",
    "network_cost",
]
