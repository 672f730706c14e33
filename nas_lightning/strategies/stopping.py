"""Base class of strategies that may end a search early."""

from __future__ import annotations

from abc import ABC
from typing import Any

from lightning import LightningModule, Trainer

from nas_lightning.search import SearchStrategy


class EarlyStop(SearchStrategy, ABC):
    """A strategy that may end the search. Subclasses set `stopped` for this.

    The current epoch is completed. A stopped search remains stopped when it is resumed.

    Attributes:
        stopped: True if the search is over.
    """

    ends_early = True

    def __init__(self) -> None:
        self.stopped = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the search at once if it was stopped before the checkpoint was written."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the search if `stopped` is set."""
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if self.stopped:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return `stopped`."""
        return {"stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        self.stopped = state_dict["stopped"]
