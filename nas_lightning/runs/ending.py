"""The last lines of a run: the result, where it lies, what it cost, and the next command."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.budgets import verdict
from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.display import elapsed
from nas_lightning.drawing.cells import save_drawing
from nas_lightning.errors import CheckpointError, NASError
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.chain import KEY, next_command
from nas_lightning.runs.directory import CHECKPOINTS
from nas_lightning.runs.next_steps import test_command
from nas_lightning.runs.record_file import read_record
from nas_lightning.runs.retraining import retrain_command
from nas_lightning.search import SearchModule
from nas_lightning.search.genotype_writer import FILE
from nas_lightning.strategies.skip_cap import recorded
from nas_lightning.training.checkpoints import read_checkpoint
from nas_lightning.training.epochs import reached

DRAWING = "cells.svg"
MANY = 4
"""Largest number of kinds of cells that are printed node by node."""
WIDTH = 24


def print_ending(trainer: Trainer, model: LightningModule, config: Mapping[str, Any]) -> None:
    """Print what `ending` returns; if that fails, the run has ended well nevertheless."""
    try:
        print(ending(trainer, model, config), flush=True)
    except Exception as error:  # noqa: BLE001 (a foreign space or data module may raise anything)
        why = " ".join(str(error).split()) or "an unexpected error"
        print(f"nas: warning: the run has ended, but not its summary: {why}", file=sys.stderr)


def ending(trainer: Trainer, model: LightningModule, config: Mapping[str, Any]) -> str:
    """Return the lines that a finished fit prints, and draw the cells of a search.

    A run under `fast_dev_run`, which keeps nothing, has none.

    Args:
        trainer: The trainer.
        model: The module.
        config: The complete configuration.
    """
    run_dir = Path(config["run_dir"])
    if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
        return "nothing is kept under fast_dev_run"
    if isinstance(model, SearchModule) and (run_dir / FILE).is_file():
        return "\n".join(["", *_search(trainer, run_dir, config)])
    if isinstance(model, RetrainModule):
        return "\n".join(["", *_retraining(trainer, run_dir)])
    return "\n".join(["", *_cost(run_dir)])


def print_tables(trainer: Trainer) -> None:
    """Print where the metrics of an evaluation lie."""
    if trainer.is_global_zero and trainer.test_loop.verbose and trainer.validate_loop.verbose:
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                print(f"metrics written to {Path(logger.log_dir) / 'metrics.csv'}")


def _row(name: str, text: object) -> str:
    return f"{name:<{WIDTH}} {text}"


def _search(trainer: Trainer, run_dir: Path, config: Mapping[str, Any]) -> Iterator[str]:
    genotype = Genotype.load(run_dir / FILE)
    yield from in_words(genotype)
    yield ""
    if (kept := verdict(genotype)) is not None:
        yield _row("budget", kept)
    for title, cell in recorded(genotype):
        yield _row(title, cell)
    yield _row("genotype", run_dir / FILE)
    if config["pictures"] and (drawing := _drawn(genotype, run_dir / DRAWING)):
        yield _row("drawing", drawing)
    yield from _cost(run_dir)
    if chain := config.get(KEY):
        yield _row("go on with", next_command(run_dir, chain))
        return
    spec = getattr(trainer.datamodule, "data_spec", {})  # type: ignore[attr-defined] # set by a connector
    size, batches = spec.get("image_size"), trainer.num_training_batches
    line = retrain_command(config, genotype, run_dir, batches, size)
    yield _row("retrain it with", line)


def in_words(genotype: Genotype) -> Iterator[str]:
    """Yield the cells, one line a node; of more than four kinds, the number of each operation.

    Choices have a line each, with the weight of the candidate.
    """
    if genotype.space.of_choices:
        yield from _choices(genotype)
        return
    if len(genotype.cells) <= MANY:
        yield from str(genotype).splitlines()
        return
    counts = Counter(
        edge.primitive for cell in genotype.cells.values() for node in cell.nodes for edge in node
    )
    yield f"{len(genotype.cells)} cells, each with its own operations"
    for primitive, number in counts.most_common():
        yield f"  {primitive:<{WIDTH - 2}} on {number} edges"


def _choices(genotype: Genotype) -> Iterator[str]:
    lines = str(genotype).splitlines()
    width = max(map(len, lines))
    for line, cell in zip(lines, genotype.space.cells, strict=True):
        column = cell.primitives.index(genotype.cells[cell.kind].nodes[0][0].primitive)
        yield f"{line:<{width}}  {genotype.mixing[cell.kind]['ops'][0][column]:.2f}"


def _drawn(genotype: Genotype, path: Path) -> Path | None:
    """Draw the cells; a picture that cannot be written does not make a run fail."""
    try:
        return save_drawing(genotype, path)
    except NASError as error:
        print(f"nas: warning: {error}", file=sys.stderr)
        return None


def _retraining(trainer: Trainer, run_dir: Path) -> Iterator[str]:
    saving = next((c for c in trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)), None)
    if saving is not None and saving.best_model_path:
        yield _row("best epoch", _best(saving, trainer))
        yield _row("checkpoint", run_dir / CHECKPOINTS / Path(saving.best_model_path).name)
    elif saving is not None and saving.last_model_path:
        yield _row("checkpoint", run_dir / CHECKPOINTS / Path(saving.last_model_path).name)
    yield from _cost(run_dir)
    yield _row("test it with", test_command(run_dir))


def _best(saving: RunCheckpoint, trainer: Trainer) -> str:
    """Return the epoch of the best checkpoint, and its value of the monitored metric."""
    try:
        epoch = reached(read_checkpoint(saving.best_model_path)["epoch"] + 1, 0, trainer.max_epochs)
    except CheckpointError:  # removed since it was written
        return "not there any more"
    score = saving.best_model_score
    value = "" if score is None else f": {saving.monitor} {float(score):.4g}"
    return f"{epoch.removeprefix('epoch ')}{value}"


def _cost(run_dir: Path) -> Iterator[str]:
    """Yield what all starts of the run cost together."""
    starts = [start for start in read_record(run_dir).get("starts", []) if "seconds" in start]
    if not starts:
        return
    seconds = sum(start["seconds"] for start in starts)
    memory = max(start["peak_memory_mib"] for start in starts)
    training = sum(start["training_seconds"] for start in starts)
    samples = sum(start["samples"] for start in starts)
    rate = f", {samples / training:,.1f} samples a second" if training and samples else ""
    yield _row("cost", f"{elapsed(seconds)}, peak memory {memory:,.0f} MiB{rate}")
