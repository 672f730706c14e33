"""A progress bar with short names, or one line per epoch without a terminal."""

from __future__ import annotations

import sys
import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

REFRESH = 10
"""Batches between two updates of the bar on a device, since reading the loss waits for it."""


class RunProgressBar(TQDMProgressBar):
    """Lightning's progress bar in terminals, and one line per epoch in log files."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        super().__init__(refresh_rate=1 if self.terminal else 0)
        self._began = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Update the bar less often on a GPU, which would otherwise idle."""
        super().setup(trainer, pl_module, stage)
        if self.terminal and trainer.strategy.root_device.type != "cpu":
            self._refresh_rate = REFRESH

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the metrics of the bar, each once and without its prefix before the slash."""
        items = {**super().get_metrics(trainer, pl_module), **_losses(trainer, "step")}
        items.pop("v_num", None)
        shown: dict[str, int | str | float | dict[str, float]] = {}
        for key, value in items.items():
            # of a metric that is logged by step and by epoch, the bar shows the step
            if not key.endswith("_epoch"):
                name = key.rsplit("/", 1)[-1].removesuffix("_step")
                shown[name] = int(value) if isinstance(value, float) and "skips" in name else value
        return dict(sorted(shown.items()))

    def on_train_start(self, *args: object) -> None:
        """Start the clock, since a run resumed within an epoch skips the start of that epoch."""
        super().on_train_start(*args)
        self._began = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, *_: object) -> None:
        """Start the clock."""
        super().on_train_epoch_start(trainer)
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch if there is no terminal."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.terminal or not trainer.is_global_zero:
            return
        shown = {**trainer.progress_bar_metrics, **_losses(trainer, "epoch")}
        values = {
            key.rsplit("/", 1)[-1].removesuffix("_epoch"): value
            for key, value in sorted(shown.items())
            if not key.endswith("_step")
        }
        text = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        seconds = time.monotonic() - self._began
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        print(f"epoch {trainer.current_epoch + 1}/{total}  {seconds:.1f} s  {text}", flush=True)


def _losses(trainer: Trainer, of: str) -> dict[str, float]:
    """Return the training losses that are logged under the suffix `step` or `epoch`."""
    found = trainer.callback_metrics.items()
    return {name: float(value) for name, value in found if name.endswith(f"_loss_{of}")}
