"""The position of a run in its training data."""

from typing import Any

from lightning import Trainer


def training_position(trainer: Trainer) -> tuple[int, int]:
    """Return the current epoch and the number of its batches that are done.

    The result is right in every hook, although Lightning's counters change at different moments:
    between two epochs the batch counter still holds the value of the old one.

    Returns:
        The epoch of the next batch, and the number of batches of that epoch that are done.
    """
    # Lightning declares a base class that lacks some of these counters
    epochs: Any = trainer.fit_loop.epoch_progress.current
    progress = trainer.fit_loop.epoch_loop.batch_progress
    batches: Any = progress.current
    if epochs.started == epochs.processed:  # not inside an epoch
        return int(epochs.processed), 0
    if progress.is_last_batch and batches.processed == batches.ready:
        # the last batch is done, but the end of the epoch was not announced yet
        return int(epochs.processed) + 1, 0
    return int(epochs.processed), int(batches.processed)
