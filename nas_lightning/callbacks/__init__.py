"""Callbacks of every run."""

from nas_lightning.callbacks.graceful_stop import GracefulStop, RunInterruptedError
from nas_lightning.callbacks.predictions import PredictionWriter
from nas_lightning.callbacks.progress import RunProgressBar

__all__ = ["GracefulStop", "PredictionWriter", "RunInterruptedError", "RunProgressBar"]
