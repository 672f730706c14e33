"""Retraining: train the network of a genotype from scratch."""

from nas_lightning.architecture.cost import Cost, count_parameters, network_cost
from nas_lightning.moved import missing
from nas_lightning.retrain.module import RetrainModule

__all__ = ["Cost", "RetrainModule", "count_parameters", "network_cost"]


def __getattr__(name: str) -> object:
    """Return a name that an earlier release exported here."""
    return missing(__name__, name)
