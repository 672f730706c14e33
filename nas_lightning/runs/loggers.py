"""The loggers of a run: TensorBoard or the user's choice, and always CSV."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from nas_lightning.files import replacing
from nas_lightning.runs.board import Board
from nas_lightning.runs.metrics import read_metrics


class WholeCSVLogger(CSVLogger):
    """Lightning's CSV logger, which here replaces the table atomically whenever rows are added.

    Lightning itself rewrites the table when a new column appears: a process that is killed at that
    moment would lose its metrics.
    """

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that are not in the file yet."""
        if not self.experiment.metrics:
            return
        table = Path(self.experiment.metrics_file_path)
        with replacing(table) as temporary:
            if table.exists():
                shutil.copyfile(table, temporary)
            self.experiment.metrics_file_path = str(temporary)
            try:
                super().save()
            finally:
                self.experiment.metrics_file_path = str(table)


def make_loggers(
    given: object, run_dir: Path, verb: str, checkpoint: Mapping[str, Any] | None
) -> list[Logger]:
    """Return the user's loggers, or TensorBoard, and a CSV logger with a new folder.

    Args:
        given: The loggers of the configuration, as objects.
        run_dir: The run directory.
        verb: `fit`, `test`, …, the name of the CSV folder.
        checkpoint: Content of the checkpoint that a fit resumes from, if any. TensorBoard then
            hides what a killed run had logged after it.
    """
    chosen = given if isinstance(given, list) else [given] if isinstance(given, Logger) else []
    if not chosen:
        chosen = [_board(run_dir, checkpoint)]
    part = next(
        name
        for name in (verb if n == 1 else f"{verb}-{n}" for n in range(1, 10_000))
        if not (run_dir / "csv" / name).exists()
    )
    return [*chosen, WholeCSVLogger(run_dir, name="csv", version=part)]


def _board(run_dir: Path, checkpoint: Mapping[str, Any] | None) -> Board:
    if checkpoint is None:
        return Board(run_dir)
    done = _logged_steps(checkpoint)
    return Board(run_dir, done, [row for row in read_metrics(run_dir) if row["step"] < done])


def _logged_steps(checkpoint: Mapping[str, Any]) -> int:
    """Return the number of steps before a checkpoint, as loggers count them."""
    done: int = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    return done
