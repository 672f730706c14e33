"""Epochs and batches in words.

Messages, tables and pictures count epochs and batches from 1. Files that programs read (run.json,
metrics.csv, genotypes, checkpoints) count from 0, as Lightning does.
"""


def place(epoch: int, batch: int) -> str:
    """Return an epoch and a batch, which are counted from 0, in words that count from 1."""
    return f"epoch {epoch + 1}, batch {batch + 1}"


def reached(epoch: int, batch: int, epochs: int | None = None) -> str:
    """Return what a run has done in words, such as `epoch 3 of 50, batch 17`.

    Args:
        epoch: Epoch of the next batch, counted from 0: the number of complete epochs.
        batch: Number of batches of that epoch that are done.
        epochs: Number of epochs of the run; `None` or -1 if it is not known.
    """
    number = epoch + 1 if batch else epoch
    if not number:
        return "the start"
    of = f" of {epochs}" if epochs and epochs > 0 else ""
    return f"epoch {number}{of}" + (f", batch {batch}" if batch else "")
