"""One-shot scores: the metric of cells with the weights of a trained supernet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar

from nas_lightning.architecture import Cell, CellGenotype, Genotype
from nas_lightning.callbacks import DataReport
from nas_lightning.errors import UsageError
from nas_lightning.runs.command import NASCLI
from nas_lightning.search import SearchModule


def one_shot_scores(cli: NASCLI, cells: Sequence[Genotype], metric: str) -> list[float | None]:
    """Compute the metric of cells with the supernet's weights, on the test data.

    Nothing is logged, and the search stays as it was. Each cell sees the whole test set, or the
    number of batches in the trainer's `limit_test_batches`.

    Args:
        cli: The result of `run(["test", …])` for a search.
        cells: Genotypes of the search's space.
        metric: Name of the metric, such as `accuracy`; it is logged as `one_shot/test_…`.

    Returns:
        The metric of each cell, or `None` if the supernet does not have one of its operations.

    Raises:
        UsageError: The run is not a search, a cell is of another space, or there is no such metric.
    """
    module = cli.model
    if not isinstance(module, SearchModule):
        raise UsageError("one-shot scores need a search: this is a run of another kind")
    scores: list[float | None] = []
    with _silent(cli.trainer):
        try:
            for cell in cells:
                module.candidate = cell
                scores.append(_score(cli, metric) if can_score(module, cell) else None)
        finally:
            module.candidate = None
    return scores


def _score(cli: NASCLI, metric: str) -> float:
    (found,) = cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    prefix = "one_shot/test_"
    if f"{prefix}{metric}" not in found:
        known = ", ".join(name.removeprefix(prefix) for name in found)
        raise UsageError(f"the search has no one-shot metric {metric!r}; it has {known}")
    return found[f"{prefix}{metric}"]


def can_score(module: SearchModule, genotype: Genotype) -> bool:
    """Return True if the supernet has all operations of a genotype.

    Raises:
        UsageError: The genotype is of another space.
    """
    if genotype.space.name != module.space.name:
        raise UsageError(
            f"the search is in space {module.space.name!r}, a cell in {genotype.space.name!r}"
        )
    return all(_within(cell, genotype.cells[cell.kind]) for cell in module.space.cells)


def _within(cell: Cell, genotype: CellGenotype) -> bool:
    return all(kept.primitive in cell.primitives for node in genotype.nodes for kept in node)


@contextmanager
def _silent(trainer: Trainer) -> Iterator[None]:
    """Disable loggers, bars and reports: these tests are too many to be shown one by one."""
    loggers, trainer.loggers = trainer.loggers, []
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined] # set by a connector
    trainer.callbacks = [x for x in callbacks if not isinstance(x, DataReport)]  # type: ignore[attr-defined] # set by a connector
    bars = [callback for callback in trainer.callbacks if isinstance(callback, ProgressBar)]  # type: ignore[attr-defined] # set by a connector
    for bar in bars:
        bar.disable()
    try:
        yield
    finally:
        trainer.loggers = loggers
        trainer.callbacks = callbacks  # type: ignore[attr-defined] # set by a connector
        for bar in bars:
            bar.enable()
