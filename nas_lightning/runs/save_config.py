"""The resolved configuration of a run, kept as a file and shown in TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.utilities import _log_hyperparams  # the trainer logs them too early

from nas_lightning.callbacks import AverageWeights, RunCheckpoint
from nas_lightning.callbacks.average_weights import KEY as MEAN
from nas_lightning.errors import CheckpointMismatchError
from nas_lightning.files import write_text
from nas_lightning.runs.directory import CONFIG, Start, has_checkpoint, set_aside
from nas_lightning.runs.fingerprint import changes
from nas_lightning.runs.held_logger import let_go
from nas_lightning.runs.monitors import check_position_of_validation
from nas_lightning.training.compatibility import KEEP
from nas_lightning.yaml_text import parse_mapping, read_mapping


class SaveConfig(Callback):
    """Keep the resolved configuration of a fit: as a file and as text in TensorBoard.

    It is written when training starts, after everything that may refuse the run. A checkpoint that
    turned out to be damaged is set aside at the same moment.

    Args:
        parser: The parser that has read the configuration.
        config: The configuration.
        run_dir: The run directory.
        start: The start of the run.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Namespace, run_dir: Path, start: Start
    ) -> None:
        self.parser = parser
        self.config = config
        self.run_dir = run_dir
        self.start = start
        self.saved = False

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare the callbacks of a checkpoint with those of this start.

        Raises:
            CheckpointMismatchError: The weights of the checkpoint are a mean that no callback of
                this start goes on with.
        """
        here = {callback.state_key for callback in trainer.callbacks}  # type: ignore[attr-defined] # set by a connector
        names = {key.partition("{")[0] for key in here}
        if checkpoint.get(MEAN, {}).get("averaged") and AverageWeights.__name__ not in names:
            raise CheckpointMismatchError(
                f"the weights of the checkpoint are a mean of AverageWeights, which is not in "
                f"trainer.callbacks: {KEEP}"
            )
        gone = [key for key in checkpoint.get("callbacks", {}) if key not in here]
        left = sorted({key.partition("{")[0] for key in gone} - {RunCheckpoint.__name__})
        if left and trainer.is_global_zero:
            print(f"left out, since this start has none with these settings: {', '.join(left)}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the loggers, save it, and print the settings of a resumed run that have changed.

        Raises:
            UsageError: The last validation of an epoch would not rate the weights of its end.
        """
        check_position_of_validation(trainer, pl_module)
        let_go(trainer)
        if self.config.trainer.enable_autolog_hparams:
            _log_hyperparams(trainer)
        if not trainer.is_global_zero:
            return
        text = self.parser.dump(self.config, skip_none=False)
        self._tell_changes(text)
        set_aside(self.run_dir, self.start)
        write_text(self.run_dir / CONFIG, text)
        self.saved = True
        indented = "\n".join(f"    {line}" for line in text.splitlines())  # code in Markdown
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", indented)

    def _tell_changes(self, text: str) -> None:
        saved = self.run_dir / CONFIG
        if not saved.is_file():
            return
        before = read_mapping(saved)
        if found := changes(before, parse_mapping(text, "the configuration")):
            print("\n  ".join(["resumes with other settings:", *found]), flush=True)

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        exception: BaseException,
    ) -> None:
        """Release the run directory if the run failed before it had a checkpoint."""
        saved = self.run_dir / CONFIG
        if self.saved and saved.exists() and not has_checkpoint(self.run_dir):
            saved.replace(saved.with_name("config.failed.yaml"))
