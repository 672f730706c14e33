"""Single steps of a run, without Lightning's training loop."""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.bench.case import Case, Step
from nas_lightning.callbacks.speed import Speed
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.search.passes import WARM

FIT_WARM, FIT_TIMED = 2, 3
"""Number of batches of a fit before the clock starts, and of timed batches."""


class Harness:
    """A case that is set up to run single steps.

    The trainer is in the last epoch of the run: after any warm-up, and with the highest drop path.
    Steps compute metrics but log nothing.

    Args:
        case: The case.
        accelerator: Accelerator of the trainer, such as `cpu`.

    Attributes:
        allocated_before: On CUDA, the bytes that the allocator held before the case was made.
        batches: Training batches in an epoch of a full run.
    """

    def __init__(self, case: Case, accelerator: str) -> None:
        self.case, self.accelerator = case, accelerator
        self.allocated_before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        self.module, self.data = case.make()
        self.trainer = trainer = self._trainer()
        trainer.state.fn = TrainerFn.FITTING
        trainer.training = True
        trainer.strategy.connect(self.module)
        self.module.trainer = trainer
        self.speed = self._speed()
        for callback in self.speed:
            callback.setup(trainer, self.module, "fit")
        self.module.setup("fit")
        trainer.strategy.setup_environment()
        trainer.strategy.setup(trainer)  # moves the module, makes the optimizers
        trainer.fit_loop.epoch_progress.current.completed = case.epochs - 1
        self.data.trainer = trainer
        self.data.prepare_data()
        self.data.setup("fit")
        self.loader = self.data.train_dataloader()
        self.module.log = _nowhere  # type: ignore[method-assign] # there is no loop to log in
        self.module.train()
        self.module.on_train_epoch_start()
        self._next = self._endless()
        self.batch = self.next_batch()
        self.batches = case.batches or self._batches()  # a combined loader has a length once begun

    def _trainer(self, **more: Any) -> Trainer:
        settings: dict[str, Any] = {
            "accelerator": self.accelerator,
            "devices": 1,
            "max_epochs": self.case.epochs,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            "limit_val_batches": 0,
        }
        return Trainer(**{**settings, **self.case.trainer, **more})

    def _speed(self) -> list[Speed]:
        """Return the callback that compiles the cells or captures passes, if the case needs it."""
        case = self.case
        tf32 = case.precision == "tf32"
        if case.graphs:
            return [Speed(tf32, graphs=True)]
        if case.compile is not None:
            return [Speed(tf32, compile=True, backend=case.compile)]
        return []

    @property
    def without_graphs(self) -> str | None:
        """Reason why the case runs without the graphs that it asks for, or `None`."""
        return next((callback.no_graphs for callback in self.speed), None)

    @property
    def warm_up(self) -> int:
        """Least number of warm-up steps: those before passes are captured, and the capture."""
        captures = isinstance(self.module, SearchModule) and self.module.graphs is not None
        return WARM + 1 if captures else 0

    def close(self) -> None:
        """Undo the settings that a compiled case made for the whole process."""
        for callback in self.speed:
            callback.teardown(self.trainer, self.module, "fit")

    def begin_batch(self) -> None:
        """Call the hooks before a training batch that matter here."""
        for callback in self.speed:
            callback.on_train_batch_start(self.trainer, self.module, self.batch, 0)

    def _batches(self) -> int:
        """Return the length of the loader, within the limit of the trainer."""
        there, limit = len(self.loader), self.case.trainer.get("limit_train_batches")
        if limit is None:
            return there
        return min(there, limit) if isinstance(limit, int) else int(there * limit)

    def _endless(self) -> Iterator[Any]:
        combined = isinstance(self.module, SearchModule)
        for _ in itertools.count():
            for item in self.loader:
                yield item[0] if combined else item  # a combined loader adds two indices

    def next_batch(self) -> Any:
        """Return the next batch, on the device."""
        return move_data_to_device(next(self._next), self.device)

    @property
    def device(self) -> torch.device:
        """Device of the run."""
        return self.trainer.strategy.root_device

    @property
    def images(self) -> int:
        """Number of samples in a weight step."""
        batch = self.batch["train"] if isinstance(self.module, SearchModule) else self.batch
        return self.module.task.size(batch)

    def arch_epochs(self) -> int:
        """Count the epochs of a full run in which the strategies allow architecture steps."""
        if not isinstance(self.module, SearchModule):
            return 0
        progress = self.trainer.fit_loop.epoch_progress.current
        found = 0
        for epoch in range(self.case.epochs):
            progress.completed = epoch
            found += all(s.allow_arch_step(self.module) for s in self.module.strategies)
        return found

    def step(self, name: Step) -> Callable[[], object]:
        """Return a function that runs a step of that name; see `fit` for the step `fit`.

        Raises:
            UsageError: The case has no such step.
        """
        if name == "data":
            return self.next_batch
        if name == "retrain" and not isinstance(self.module, SearchModule):
            return self._retrain
        if name in ("search", "arch", "weight") and isinstance(self.module, SearchModule):
            steps = {"search": self._search, "arch": self._arch, "weight": self._weight}
            return steps[name]
        kind = "search" if isinstance(self.module, SearchModule) else "retraining"
        raise UsageError(f"{self.case.name} is a {kind}: it has no step {name!r}")

    def _search(self) -> None:
        with self.trainer.precision_plugin.train_step_context():
            self.module.training_step(self.batch, 0)

    def _arch(self) -> None:
        module = cast("SearchModule", self.module)
        weight, arch, *_ = cast("list[Optimizer]", module.optimizers())
        with self.trainer.precision_plugin.train_step_context():
            module.arch_step(self.batch, weight, arch)

    def _weight(self) -> None:
        module = cast("SearchModule", self.module)
        weight, *_ = cast("list[Optimizer]", module.optimizers())
        with self.trainer.precision_plugin.train_step_context():
            module.weight_step(self.batch["train"], weight)

    def _retrain(self) -> None:
        (optimizer,) = self.trainer.optimizers

        def closure() -> Any:
            with self.trainer.precision_plugin.train_step_context():
                loss = cast("Tensor", self.module.training_step(self.batch, 0))
            optimizer.zero_grad()
            self.trainer.strategy.backward(loss, optimizer)
            return loss

        self.trainer.strategy.optimizer_step(optimizer, closure)

    def fit(self) -> float:
        """Return the seconds of a training batch in a short real fit, with data loading."""
        clock = _Clock(FIT_WARM + self.warm_up)
        trainer = self._trainer(
            max_epochs=1,
            limit_train_batches=clock.warm + FIT_TIMED,
            callbacks=[*self._speed(), clock],
        )
        parts = self.case.make()
        trainer.fit(parts.module, datamodule=parts.data)
        return clock.seconds()


class _Clock(Callback):
    """Records the times at which batches end.

    Args:
        warm: Number of first batches that are not timed.
    """

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        """Return the mean time of the timed batches."""
        timed = self.ends[self.warm - 1 :]
        if len(timed) < 2:
            raise UsageError(
                f"the step fit needs more than {self.warm} training batches in an epoch"
            )
        return (timed[-1] - timed[0]) / (len(timed) - 1)


def _nowhere(*_: Any, **__: Any) -> None:
    """Log nothing."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages about every new trainer; many are made here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
