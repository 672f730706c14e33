"""Callbacks: those of every run, and those that a retraining may list in `trainer.callbacks`."""

from nas_lightning.callbacks.average_weights import AverageWeights
from nas_lightning.callbacks.graceful_stop import GracefulStop, RunInterruptedError
from nas_lightning.callbacks.predictions import PredictionWriter
from nas_lightning.callbacks.progress import RunProgressBar
from nas_lightning.callbacks.roll_back import DivergedError, RollBackOnNaN
from nas_lightning.callbacks.run_checkpoint import RunCheckpoint

__all__ = [
    "AverageWeights",
    "DivergedError",
    "GracefulStop",
    "PredictionWriter",
    "RollBackOnNaN",
    "RunCheckpoint",
    "RunInterruptedError",
    "RunProgressBar",
]
