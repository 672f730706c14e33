"""TensorBoard with what matters first, and with the settings of a run beside its results."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.core.saving import save_hparams_to_yaml
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from nas_lightning.tasks.base import Mode
from nas_lightning.training.stage import Stage

OVERVIEW = "overview/"
"""Group of the most important values; TensorBoard sorts groups by name and opens the first."""
TRAINING = "training/"
"""Group of learning rates and of the best values so far."""
VALUE = re.compile(r"(?:search|retrain)/(train|val)_(.+?)(?:_epoch)?")
SUMS = {
    "search/entropy": f"{OVERVIEW}mean_entropy",
    "search/skips": f"{OVERVIEW}skips",
}

Settings = Mapping[str, str | int | float]


def names(metrics: Mapping[str, float], main: str | None = None) -> dict[str, float]:
    """Return metrics under their names in TensorBoard.

    The most important are there twice: under their own names, and first, in the group `overview`.
    Groups of other names that would come before it go into the group `training`. The epoch, which
    Lightning counts from 0, is left out: each chart has an axis of steps.

    Args:
        metrics: The values, by the name under which they are logged.
        main: Name of the task's main metric, which is among the most important, as the loss is.
    """
    shown: dict[str, float] = {}
    for name, value in metrics.items():
        if name == "epoch":
            continue
        shown[_late(name)] = value
        if (found := VALUE.fullmatch(name)) and found[2] in ("loss", main):
            shown[f"{OVERVIEW}{found[2]}_{found[1]}"] = value
        elif name in SUMS:
            shown[SUMS[name]] = value
    return shown


def _late(name: str) -> str:
    """Return a name that TensorBoard sorts after the overview."""
    if name.startswith("one_shot/"):
        return name.replace("one_shot/", "search/one_shot_")
    early = name.startswith("lr-") or ("/" in name and name < OVERVIEW)
    return f"{TRAINING}{name}" if early else name


class Board(TensorBoardLogger):
    """Lightning's TensorBoard logger with a group for what matters first.

    Args:
        folder: Folder of the files.
        purge_step: Step from which on TensorBoard hides what earlier starts have logged.
        before: Metrics that earlier starts have logged, for the best values so far.
    """

    def __init__(
        self,
        folder: Path,
        purge_step: int | None = None,
        before: Sequence[Mapping[str, float]] = (),
    ) -> None:
        super().__init__(
            folder, name="", version="", default_hp_metric=False, purge_step=purge_step
        )
        self._best: dict[str, float] = {}
        self._before = before
        self._main: str | None = None
        self._falls = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics, under their names here, and the best values so far."""
        shown = names(metrics, self._main)
        super().log_metrics({**shown, **self._bests(shown)}, step)

    def _bests(self, shown: Mapping[str, float]) -> dict[str, float]:
        """Return the best values so far of the validation metrics among these."""
        found: dict[str, float] = {}
        for name, value in shown.items():
            if not (name.startswith(OVERVIEW) and name.endswith("_val")):
                continue
            key = f"{TRAINING}best_{name.removeprefix(OVERVIEW)}"
            falls = self._falls or name == f"{OVERVIEW}loss_val"
            better = min if falls else max
            value = float(value)
            if math.isfinite(value):
                self._best[key] = found[key] = better(value, self._best.get(key, value))
        return found

    @rank_zero_only
    def begin(self, settings: Settings, directions: Mapping[str, Mode | None]) -> None:
        """Write the settings for the table HParams, and into `hparams.yaml`.

        Args:
            settings: The settings, by name.
            directions: Direction in which each metric of the task is better. The table shows the
                best and last values of the first one beside those of the loss.
        """
        self._main, mode = next(iter(directions.items()), (None, None))
        self._falls = mode == "min"
        for row in self._before:
            self._bests(names(row, self._main))
        self._before = ()
        self.hparams.update(settings)
        save_hparams_to_yaml(str(Path(self.log_dir) / self.NAME_HPARAMS_FILE), self.hparams)
        shown = [
            f"{group}{name}_val"
            for name in filter(None, (self._main, "loss"))
            for group in (f"{TRAINING}best_", OVERVIEW)
        ]
        metrics = dict.fromkeys([*shown, f"{OVERVIEW}loss_train"], 0.0)
        plan, start, self._end = hparams(dict(settings), metrics)  # type: ignore[no-untyped-call] # torch
        for summary in (plan, start):
            self.experiment._get_file_writer().add_summary(summary)

    @rank_zero_only
    def end(self) -> None:
        """Write that the run has ended."""
        self.experiment._get_file_writer().add_summary(self._end)


class ShowSettings(Callback):
    """Give the loggers the settings of a run, once it has started.

    Args:
        settings: The settings, by name.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the settings to all loggers but that of `metrics.csv`."""
        for logger in trainer.loggers:
            if isinstance(logger, Board):
                known = pl_module.streams.directions if isinstance(pl_module, Stage) else {}
                logger.begin(self.settings, known)
            elif not isinstance(logger, CSVLogger):
                logger.log_hyperparams(dict(self.settings))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mark the run as ended."""
        for logger in trainer.loggers:
            if isinstance(logger, Board):
                logger.end()


def flat_settings(config: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return the settings of a run under short names, as a table can show them.

    A class is given by its name, and its arguments follow, such as `weight_optimizer: SGD` and
    `weight_optimizer.lr: 0.1`. What is not set or false is left out, and so are lists of names.

    Args:
        config: The configuration.
    """
    found: dict[str, Any] = {"seed": config.get("seed_everything")}
    _walk(found, "model", config.get("model"))
    _walk(found, "data", config.get("data"))
    trainer = config.get("trainer") or {}
    found |= {name: trainer.get(name) for name in TRAINER}
    return {
        name.removeprefix("model."): "true" if value is True else value
        for name, value in found.items()
        if isinstance(value, str | int | float) and value is not False and value not in UNSET
    }


TRAINER = (
    "max_epochs", "max_steps", "devices", "num_nodes", "strategy", "precision",
    "limit_train_batches", "gradient_clip_val",
)  # fmt: skip
"""Settings of the trainer that change a result."""
DETAILS = ("eps", "dampening", "num_workers")
"""Arguments that hardly anyone changes, or that change no result."""
UNSET = ("auto", -1)
"""Values that leave a choice to Lightning."""


def _walk(found: dict[str, Any], name: str, value: object) -> None:
    """Add a value of the configuration, and those inside it."""
    if isinstance(value, Mapping) and "class_path" in value:
        found[name] = str(value["class_path"]).rpartition(".")[2]
        for key, inner in (value.get("init_args") or {}).items():
            if key not in DETAILS:
                _walk(found, f"{name}.{key}", inner)
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value) and value:
        parts = [str(item.get("class_path", "")).rpartition(".")[2] for item in value]
        found[name] = ", ".join(parts)
        for part, item in zip(parts, value, strict=True):
            for key, inner in (item.get("init_args") or {}).items():
                _walk(found, f"{name}.{part}.{key}", inner)
    elif not isinstance(value, list | Mapping):
        found[name] = value
