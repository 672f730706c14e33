"""Retraining: the network of a genotype, from scratch."""

from nas_lightning.retrain.cost import Cost, count_parameters, network_cost
from nas_lightning.retrain.module import RetrainModule
from nas_lightning.retrain.network import CellNetwork

__all__ = ["CellNetwork", "Cost", "RetrainModule", "count_parameters", "network_cost"]
