"""Callbacks that every run has, and callbacks that a run may list in `trainer.callbacks`."""

from nas_lightning.callbacks.average_weights import AverageWeights
from nas_lightning.callbacks.data_report import DataReport
from nas_lightning.callbacks.graceful_stop import GracefulStop
from nas_lightning.callbacks.lost_process import LostProcess
from nas_lightning.callbacks.predictions import PredictionWriter
from nas_lightning.callbacks.progress import RunProgressBar
from nas_lightning.callbacks.ranks_agree import RanksAgree, RanksDisagreeError
from nas_lightning.callbacks.roll_back import RollBackOnNaN
from nas_lightning.callbacks.run_checkpoint import RunCheckpoint
from nas_lightning.callbacks.speed import Speed
from nas_lightning.signals import RunInterruptedError, RunRequeuedError

__all__ = [
    "AverageWeights",
    "DataReport",
    "GracefulStop",
    "LostProcess",
    "PredictionWriter",
    "RanksAgree",
    "RanksDisagreeError",
    "RollBackOnNaN",
    "RunCheckpoint",
    "RunInterruptedError",
    "RunProgressBar",
    "RunRequeuedError",
    "Speed",
]
