"""Loggers that are not opened before the run is taken."""

from __future__ import annotations

from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger


class HeldLogger(Logger):
    """Stands for a logger until training starts, and writes nothing.

    Lightning opens the loggers, which create files, before it loads the checkpoint that may refuse
    the run.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self.logger = logger

    @property
    def name(self) -> str | None:
        """Name of the logger."""
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        """Version of the logger."""
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        """Folder of the logger's files."""
        ours = isinstance(self.logger, CSVLogger | TensorBoardLogger)
        return self.logger.log_dir if ours else self.logger.save_dir

    def log_metrics(self, *_: Any, **__: Any) -> None:
        """Log nothing."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Log nothing."""


def hold(trainer: Trainer) -> None:
    """Put every logger of a trainer aside."""
    trainer.loggers = [HeldLogger(logger) for logger in trainer.loggers]


def let_go(trainer: Trainer) -> None:
    """Give a trainer its loggers back."""
    trainer.loggers = [
        item.logger if isinstance(item, HeldLogger) else item for item in trainer.loggers
    ]
