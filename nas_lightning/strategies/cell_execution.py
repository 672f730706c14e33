"""Strategies that change how the cells of the supernet are computed."""

import dataclasses
from typing import final

from nas_lightning.search import CELL_EXECUTION, SearchPlan, SearchStrategy
from nas_lightning.supernet import CellExecution, reference_cell, reference_preprocess


@final
class ReferenceCell(SearchStrategy):
    """Compute every cell edge by edge, as the papers describe it.

    It is slower than the fast cell, with the same results up to rounding, and is meant for
    comparisons. Fills: cell execution.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Fill the cell execution with the reference cell."""
        execution = CellExecution(reference_cell, reference_preprocess, channels_last=False)
        plan.fill(CELL_EXECUTION, execution, by=self)


@final
class CheckpointCells(SearchStrategy):
    """Keep only the inputs of each cell for the backward pass and recompute the rest.

    This is gradient checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost",
    2016) by cell: less memory for one more forward pass, with equal results. Wraps: cell
    execution.
    """

    def configure(self, plan: SearchPlan) -> None:
        """Turn on checkpointing for the cell execution of the plan."""
        plan.wrap(CELL_EXECUTION, _checkpointed, by=self)


def _checkpointed(execution: CellExecution) -> CellExecution:
    return dataclasses.replace(execution, checkpoint=True)
