"""Retrained networks outside of runs: in Python, as files, and for image files."""

from nas_lightning.deploy.files import Exported, export
from nas_lightning.deploy.trained import Prediction, TrainedNetwork, load

__all__ = ["Exported", "Prediction", "TrainedNetwork", "export", "load"]
