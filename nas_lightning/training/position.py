"""Where in the training data a run is."""

from typing import Any

from lightning import Trainer


def training_position(trainer: Trainer) -> tuple[int, int]:
    """Epoch and number of its batches that the training has done.

    Right in every hook: Lightning's counters change at different moments. Between the end of an
    epoch and the start of the next one, the batch counter still holds the old epoch's value.

    Returns:
        The epoch whose batch comes next, and how many of its batches are done.
    """
    # Lightning declares a base class that lacks some of these counters
    epochs: Any = trainer.fit_loop.epoch_progress.current
    progress = trainer.fit_loop.epoch_loop.batch_progress
    batches: Any = progress.current
    if epochs.started == epochs.processed:  # not inside an epoch
        return int(epochs.processed), 0
    if progress.is_last_batch and batches.processed == batches.ready:
        # the epoch's last batch is done, its end was not yet announced
        return int(epochs.processed) + 1, 0
    return int(epochs.processed), int(batches.processed)
