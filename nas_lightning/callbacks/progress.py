"""A progress bar with a line for each finished epoch, and only these lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import ProgressColumn, Task
from rich.text import Text

from nas_lightning.display import Bar, clock, elapsed, is_terminal, that_fit
from nas_lightning.training.position import training_position
from nas_lightning.training.stage import Stage

RATE = 5
"""Refreshes of the bar in a second."""
REFRESH = 10
"""Batches between two readings of the losses on a device, since reading waits for it."""


class RunProgressBar(RichProgressBar):
    """Lightning's rich progress bar in terminals, and one line per epoch in log files.

    In a terminal, the bar shows epoch and batch, the time that is left of the epoch and of the run,
    and below it the losses of the last step. Finished epochs stay as lines above the bar. Values
    without room are left out, from the least important.

    Times are estimates: from the speed of this epoch, and from the last whole epoch.
    """

    def __init__(self) -> None:
        self.terminal = is_terminal()
        super().__init__(refresh_rate=RATE if self.terminal else 0)
        self.pace = Pace()
        self.values: list[str] = []
        self._due = 0.0

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Return the only column, which is the whole line."""
        return [RunColumn(self, trainer)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, since a run resumed within an epoch skips the start of that epoch."""
        super().on_train_start(trainer, pl_module)
        self.pace.begin(training_position(trainer)[1])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch, and forget the metrics of earlier ones."""
        super().on_train_epoch_start(trainer, pl_module)
        self.pace.begin(0)
        self.values = []
        # Lightning keeps them until the next validation, which may be epochs away
        trainer.progress_bar_metrics.clear()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self.pace.done = batch_idx + 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _update_metrics(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the losses of the last step, at most as often as the bar is drawn."""
        now = time.monotonic()
        on_device = trainer.strategy.root_device.type != "cpu"
        if not self.is_enabled or now < self._due or (on_device and self.pace.done % REFRESH):
            return
        self._due = now + 1 / RATE
        shown = {**trainer.progress_bar_metrics, **_losses(trainer, "step")}
        self.values = in_words(shown, _metrics_of(pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch."""
        # on all processes, which may gather the metrics
        metrics = {**trainer.progress_bar_metrics, **_losses(trainer, "epoch")}
        if not trainer.is_global_zero:
            return
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        epoch = f"epoch {trainer.current_epoch + 1}/{total}"
        parts = [epoch, elapsed(self.pace.seconds), *in_words(metrics, _metrics_of(pl_module))]
        if not self.terminal:
            print("  ".join(parts), flush=True)
        elif self.progress is not None and self.is_enabled:
            width = self.progress.console.width
            self.progress.console.print(Text(that_fit(parts, width)), no_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar: the lines of the epochs stay."""
        super().on_train_end(trainer, pl_module)
        self._hide()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the bar, so that the message comes after the last epoch."""
        self._hide()
        super().on_exception(trainer, pl_module, exception)

    def _hide(self) -> None:
        if self.progress is not None:
            for task in self.progress.task_ids:
                self.progress.update(task, visible=False)


class RunColumn(ProgressColumn):
    """The line of a task: training, or an evaluation.

    Args:
        bar: The progress bar.
        trainer: Its trainer.
    """

    def __init__(self, bar: RunProgressBar, trainer: Trainer) -> None:
        super().__init__()
        self.bar = bar
        self.trainer = trainer

    def render(self, task: Task) -> Bar:
        """Return the line, which is drawn in another thread: nothing here reads a tensor."""
        done, total = int(task.completed), task.total
        known = None if total is None or total == float("inf") else int(total)
        batches = f"{done}/{known}" if known is not None else str(done)
        if task.description in self._evaluations():
            name = task.description.lower()
            left = [f"{name}  batch {batches}", f"{name} {batches}"]
            return Bar(left, _times(task.time_remaining, None), done, known)
        epochs = self.trainer.max_epochs if (self.trainer.max_epochs or -1) > 0 else None
        epoch = self.trainer.current_epoch + 1
        of = f"{epoch}/{epochs}" if epochs else str(epoch)
        left = [f"epoch {of}  batch {batches}", f"epoch {of}  {batches}", f"{of} {batches}"]
        times = self.bar.pace.left(known, None if epochs is None else max(epochs - epoch, 0))
        return Bar(left, _times(*times), done, known, self.bar.values)

    def _evaluations(self) -> tuple[str, ...]:
        """Return the descriptions of all tasks but the training."""
        bar = self.bar
        return (
            bar.sanity_check_description,
            bar.validation_description,
            bar.test_description,
            bar.predict_description,
        )


class Pace:
    """The speed of a run, in batches.

    Attributes:
        done: Number of batches of the epoch that are done.
    """

    def __init__(self) -> None:
        self.done = 0
        self._first = 0
        self._began = time.monotonic()
        self._epoch: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the epoch began here."""
        return time.monotonic() - self._began

    def begin(self, batch: int) -> None:
        """Begin an epoch, or go on with one before a batch (counted from 0)."""
        if self.done and not self._first:
            self._epoch = self.seconds
        self.done = self._first = batch
        self._began = time.monotonic()

    def left(self, batches: int | None, epochs: int | None) -> tuple[float | None, float | None]:
        """Return the seconds that are left of the epoch and of the run, as far as is known.

        Args:
            batches: Number of batches of an epoch.
            epochs: Number of epochs after this one.
        """
        here = self.done - self._first
        if batches is None or here < 1:
            return None, None
        each = self.seconds / here
        now = each * (batches - self.done)
        if epochs is None:
            return now, None
        return now, now + epochs * (each * batches if self._epoch is None else self._epoch)


def in_words(metrics: Mapping[str, Any], of_task: Collection[str] = ()) -> list[str]:
    """Return metrics as `name value`, each once and without its prefix, by importance.

    Losses of training and validation come first, then the metrics of the validation, the loss and
    metrics of the architecture half, and counts of skip connections last.

    Args:
        metrics: The values, by the name under which they are logged.
        of_task: Names of the task's metrics.
    """
    shown: dict[str, float] = {}
    for key, value in metrics.items():
        name = key.rsplit("/", 1)[-1]
        # of a metric that is logged by step and by epoch, only one is given
        shown[name.removesuffix("_step").removesuffix("_epoch")] = float(value)
    return [
        f"{name} {int(shown[name]) if 'skips' in name else format(shown[name], '.4g')}"
        for name in sorted(shown, key=lambda name: _importance(name, of_task))
    ]


def _metrics_of(module: LightningModule) -> Collection[str]:
    """Return the names of the metrics of a module's task."""
    return module.streams.directions if isinstance(module, Stage) else ()


def _importance(name: str, of_task: Collection[str]) -> tuple[int, str]:
    """Return a key that sorts names of metrics by importance."""
    half, quality = name.startswith("arch_"), name.partition("_")[2] in of_task
    if name.endswith("loss"):
        return (2 if half else 0), name
    if "skips" in name:
        return 5, name
    return (1 if quality and name.startswith("val") else 3 if quality else 4), name


def _losses(trainer: Trainer, of: str) -> dict[str, float]:
    """Return the training losses that are logged under the suffix `step` or `epoch`."""
    found = trainer.callback_metrics.items()
    return {name: float(value) for name, value in found if name.endswith(f"_loss_{of}")}


def _times(epoch: float | None, run: float | None) -> list[str]:
    """Return the time that is left, from the longest text to the shortest."""
    if epoch is None:
        return [""]
    if run is None:
        return [f"{clock(epoch)} left", clock(epoch)]
    both = f"{clock(epoch)} left, run {clock(run)}"
    return [f"{both} left", both, f"{clock(epoch)}, run {clock(run)}", clock(run)]
