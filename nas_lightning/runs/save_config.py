"""The resolved configuration of a run, kept as a file and shown in TensorBoard."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from nas_lightning.runs.directory import CONFIG, has_checkpoint
from nas_lightning.runs.fingerprint import changes
from nas_lightning.yaml_text import parse_mapping, read_mapping


class SaveConfig(SaveConfigCallback):
    """Keep the resolved configuration of a fit: as a file and as text in TensorBoard."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it if the run is a fit; evaluation does not change the saved configuration."""
        if stage == "fit":
            if trainer.is_global_zero:
                self._tell_changes(Path(trainer.default_root_dir) / CONFIG)
            super().setup(trainer, pl_module, stage)

    def _tell_changes(self, saved: Path) -> None:
        """Print the settings of a resumed run that have changed."""
        if not saved.is_file():
            return
        before = read_mapping(saved)
        now = parse_mapping(self.parser.dump(self.config, skip_none=False), "the configuration")
        if found := changes(before, now):
            print("\n  ".join(["resumes with other settings:", *found]), flush=True)

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        exception: BaseException,
    ) -> None:
        """Release the run directory if the run failed before it had a checkpoint."""
        saved = Path(trainer.default_root_dir) / CONFIG
        if not self.already_saved or not saved.exists():
            return
        if trainer.is_global_zero and not has_checkpoint(saved.parent):
            saved.replace(saved.with_name("config.failed.yaml"))

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Show it in TensorBoard."""
        text = self.parser.dump(self.config, skip_none=False)
        indented = "\n".join(f"    {line}" for line in text.splitlines())  # code in Markdown
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("config", indented)
