"""Checkpoints of a run: the best, if a metric is monitored, and always the last two."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nas_lightning.errors import CheckpointMismatchError, UsageError
from nas_lightning.ranges import at_least, check_value
from nas_lightning.search import SearchModule
from nas_lightning.tasks.base import Mode
from nas_lightning.training.checkpoints import Last, WholeCheckpoints
from nas_lightning.training.monitoring import mode_of, named_metric

BEST = "best"
OTHERS = (
    "for other checkpoints list Lightning's own callback, with a folder of its own: "
    "--trainer.callbacks+=ModelCheckpoint --trainer.callbacks.dirpath=FOLDER"
)
WITHIN = "for checkpoints within an epoch set checkpoint.every_batches"


class RunCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint callback, with `best.ckpt` and `last.ckpt` under fixed names.

    `best.ckpt` is the best epoch so far by the monitored metric. Without a metric there is none.

    Lightning's own `save_last` writes `last.ckpt` only together with another checkpoint: after a
    new best or, if nothing is monitored, at the end of training. Here every epoch writes it. A new
    one replaces the old one when the metrics of that moment are on the disk, that is, when the next
    batch or epoch begins. The old one is kept as `previous.ckpt`.

    Args:
        dirpath: Folder of the checkpoints.
        monitor: Name of the metric that chooses `best.ckpt`, such as `retrain/val_accuracy`;
            `main` stands for the task's main metric on the validation data.
        mode: Direction in which it is better, `min` or `max`; by default the metric's own.
        every_batches: Also write `last.ckpt` after every `every_batches` batches of an epoch, for
            epochs that take hours; `None` means only after epochs.
        save_weights_only: Leave the state of the optimizers out of `best.ckpt`. For retraining:
            the cells that a search has found depend on the state of its strategies.
        verbose: Let Lightning report each new best.
        save_top_k: 0 keeps no `best.ckpt` although a metric is monitored.
        save_last: Has no effect: there always is a `last.ckpt`.
        auto_insert_metric_name: Has no effect, since names are fixed.
        filename: Fixed, as are the arguments below; any other value is refused.
        save_on_exception: Fixed.
        every_n_train_steps: Fixed.
        train_time_interval: Fixed.
        every_n_epochs: Fixed.
        save_on_train_epoch_end: Fixed.
        enable_version_counter: Fixed.

    Raises:
        UsageError: An argument would change which checkpoint has which name, or is out of range.
    """

    def __init__(
        self,
        dirpath: Path | str | None = None,
        *,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
        every_batches: int | None = None,
        save_weights_only: bool = False,
        verbose: bool = False,
        save_top_k: int | None = None,
        save_last: bool | Literal["link"] | None = None,
        auto_insert_metric_name: bool = True,
        filename: str = BEST,
        save_on_exception: bool = False,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = False,
    ) -> None:
        for name, value, allowed, advice in (
            ("filename", filename, (BEST, None), f"the best is always {BEST}.ckpt; {OTHERS}"),
            ("save_top_k", save_top_k, (None, 0, 1), f"there is one {BEST}.ckpt; {OTHERS}"),
            ("save_on_exception", save_on_exception, (False, None), "last.ckpt stays; " + WITHIN),
            ("every_n_train_steps", every_n_train_steps, (None, 0), WITHIN),
            ("train_time_interval", train_time_interval, (None,), WITHIN),
            ("every_n_epochs", every_n_epochs, (None, 1), f"every epoch is compared; {OTHERS}"),
            ("save_on_train_epoch_end", save_on_train_epoch_end, (None, True), WITHIN),
            ("enable_version_counter", enable_version_counter, (False, None), OTHERS),
        ):
            if value not in allowed:
                shown = str(value).lower() if isinstance(value, bool) else value
                raise UsageError(f"checkpoint.{name} {shown}: leave it out; {advice}")
        check_value("checkpoint.every_batches", every_batches, at_least(1))
        if monitor == "":
            raise UsageError("checkpoint.monitor is empty: name a metric, or set it to null")
        super().__init__(
            dirpath,
            filename=BEST,
            monitor=monitor,
            mode=mode or "min",  # replaced in `setup`
            verbose=verbose,
            save_last=False,
            save_top_k=0 if monitor is None or save_top_k == 0 else 1,
            save_weights_only=save_weights_only,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.given_mode: Mode | None = mode
        self.every_batches = every_batches
        self.prepared = False
        self.wanted = False
        """True if a checkpoint is written after this batch, once all other callbacks ended it."""
        self._own = False
        """True if the run resumes from a checkpoint in its own folder."""

    @property
    def files(self) -> Last:
        """The last two checkpoints."""
        assert self.dirpath is not None
        return Last(Path(self.dirpath))

    def resolve(self, module: LightningModule) -> None:
        """Set the name of the monitored metric of a module, and the direction of better values.

        Raises:
            UsageError: It is not known, or not the one that was given.
        """
        if self.monitor is not None:
            self.monitor = named_metric(module, self.monitor)
            mode = mode_of(module, self.monitor, self.given_mode, "checkpoint.mode")
            if mode != self.mode:
                self.mode, self.kth_value = mode, -self.kth_value

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the trainer write every checkpoint atomically, including the best one.

        Raises:
            UsageError: An argument does not fit the module.
        """
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not set by the user
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        if stage != "fit":
            return
        self.resolve(pl_module)
        if self.save_weights_only and isinstance(pl_module, SearchModule):
            raise UsageError(
                "checkpoint.save_weights_only is for retraining, since the result of a search "
                "depends on the state of its strategies: leave it out"
            )

    # -- resuming ------------------------------------------------------------------------------

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check that the best epoch so far was chosen by the same metric.

        Raises:
            CheckpointMismatchError: It was chosen by another one.
        """
        own = Path(str(trainer.ckpt_path)).resolve().parent == Path(str(self.dirpath)).resolve()
        self._own = own and trainer.state.fn == "fit"
        if not self._own or self.monitor is None:
            return
        for key, state in checkpoint.get("callbacks", {}).items():
            before = state.get("monitor") if key.startswith(type(self).__name__) else None
            if before is None or key == self.state_key:
                continue
            how = "" if before != self.monitor else " in the wrong direction"
            raise CheckpointMismatchError(
                f"checkpoint.monitor: {BEST}.ckpt was chosen by {before}{how}, now it would be by "
                f"{self.monitor}, and earlier epochs cannot be compared again: set "
                f"--checkpoint.monitor to {'null' if how else before}, or start a new run by "
                f"another --run_dir"
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, also if the run directory was moved.

        A run that starts from a checkpoint of another run has no best epoch of its own yet.
        """
        if not self._own:
            return
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict.get(name, "")) for name in paths}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath}
        )

    # -- writing -------------------------------------------------------------------------------

    def prepare(self, trainer: Trainer) -> None:
        """Write the next `last.ckpt` without replacing the current one."""
        trainer.save_checkpoint(self.files.new, weights_only=False)
        self.prepared = True

    def commit(self, trainer: Trainer) -> None:
        """Flush all logs, then replace `last.ckpt` by the prepared checkpoint, if there is one."""
        if not self.prepared:
            return
        self.prepared = False
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            self.files.promote()
        self.last_model_path = str(self.files.last)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Commit the checkpoint of the previous epoch."""
        self.commit(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Commit the checkpoint of the previous batch."""
        self.commit(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Prepare a checkpoint in the middle of an epoch, if it is wanted or due."""
        due = self.every_batches is not None and (batch_idx + 1) % self.every_batches == 0
        # after the last batch, the end of the epoch writes its own checkpoint
        at_end = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if (self.wanted or due) and not at_end:
            self.prepare(trainer)
        self.wanted = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `best.ckpt` if the epoch is the best so far, and prepare the next `last.ckpt`."""
        # a metric may be missing in some epochs: without validation, or in a warm-up
        if self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)
        self.prepare(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Commit the last checkpoint of the run."""
        super().on_train_end(trainer, pl_module)
        self.commit(trainer)
