"""Log Λ: how far the cells that share α agree about it."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.ranges import at_least, check
from nas_lightning.search import SearchModule
from nas_lightning.search.agreement import CellGradients, agreement

PREFIX = "search/lambda"
"""Prefix of the names under which `CellAgreement` logs."""


class CellAgreement(Callback):
    """Log Λ, the mean cosine between the gradients of two cells that share α, at each epoch.

    The gradient of a cell is that of the outer loss by the cell's own copy of the operation weights
    (Λ-DARTS, ICLR 2023). It is taken from the backward pass of the architecture step, averaged over
    processes, and changes nothing in the run. An estimator that evaluates the outer loss several
    times is measured at the first evaluation.

    `search/lambda_KIND` is the mean over the measured steps of an epoch, and `search/lambda` its
    mean over the kinds. 1 means that all cells want the same architecture, 0 that they have nothing
    in common. Kinds with a single cell have no pairs, so nothing is logged for them, nor in epochs
    without architecture steps, nor if the passes are replayed as CUDA graphs. For a network with
    choices, whose kinds are groups that share α, only the mean is logged.

    Args:
        every: Number of batches between two measured ones; the first of each epoch is measured.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        check(self, every=at_least(1))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the gradients of the cells, if the batch is to be measured."""
        assert isinstance(pl_module, SearchModule)
        if batch_idx % self.every == 0 and pl_module.graphs is None:
            pl_module.cell_gradients = CellGradients(pl_module.supernet.cell_counts)

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        """Log what was measured."""
        assert isinstance(pl_module, SearchModule)
        if pl_module.cell_gradients is None:
            return
        found = pl_module.cell_gradients.by_kind()
        pl_module.cell_gradients = None
        if not found:
            return
        averaged = mean_over_ranks(list(found.values()))
        values = {
            f"{PREFIX}_{kind}": agreement(gradients)
            for kind, gradients in zip(found, averaged, strict=True)
        }
        mean = torch.stack(list(values.values())).mean()
        if pl_module.space.of_choices:
            values = {}
        pl_module.streams.mean(pl_module, {**values, PREFIX: mean})
