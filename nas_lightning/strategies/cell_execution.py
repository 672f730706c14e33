"""How the cells of the supernet are computed."""

import dataclasses
from typing import final

from nas_lightning.search import CELL_EXECUTION, SearchPlan, SearchStrategy
from nas_lightning.supernet import CellExecution, reference_cell, reference_preprocess


@final
class ReferenceCell(SearchStrategy):
    """Compute every cell edge by edge, as the papers write it, which is slower.

    It equals the fast cell to rounding; for comparisons and doubts. Fills: cell execution.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Set the reference cell."""
        execution = CellExecution(reference_cell, reference_preprocess, channels_last=False)
        plan.fill(CELL_EXECUTION, execution, by=self)


@final
class CheckpointCells(SearchStrategy):
    """Keep only what enters each cell for the backward pass and compute the rest anew.

    Gradient checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016) by
    cell: less memory for one more forward pass, and the same numbers. Wraps: cell execution.
    """

    def configure(self, plan: SearchPlan) -> None:
        """Checkpoint whatever computes the cells."""
        plan.wrap(CELL_EXECUTION, _checkpointed, by=self)


def _checkpointed(execution: CellExecution) -> CellExecution:
    return dataclasses.replace(execution, checkpoint=True)
