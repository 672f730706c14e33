"""Searches that end before their last planned epoch."""

from __future__ import annotations

from abc import ABC
from typing import Any

from lightning import LightningModule, Trainer

from nas_lightning.search import SearchStrategy


class EarlyStop(SearchStrategy, ABC):
    """A strategy that may end the search; its subclasses say when by setting `stopped`.

    The epoch goes on to its end. A search that has been stopped stays so when it is resumed.

    Attributes:
        stopped: Whether the search is over.
    """

    def __init__(self) -> None:
        self.stopped = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not go on with a search that was stopped before its checkpoint."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the search, if it is over."""
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self.stopped:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Whether the search is over."""
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.stopped = state_dict["stopped"]
