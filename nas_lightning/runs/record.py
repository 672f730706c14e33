"""The record of a run, `run.json`: settings, machine, time and outcome of each start."""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

import nas_lightning
from nas_lightning.files import write_text
from nas_lightning.runs.record_file import (
    FAILED,
    FINISHED,
    FORMAT,
    KILLED,
    NAME,
    REQUEUED,
    RUNNING,
    STOPPED,
    VERSION,
    last_start,
    read_record,
)
from nas_lightning.runs.revision import git_revision
from nas_lightning.signals import RunInterruptedError, RunRequeuedError, Stopped
from nas_lightning.training.position import training_position
from nas_lightning.training.stage import Stage


class RunRecord(Callback):
    """Keep `run.json` up to date: at the start, after each epoch, and at the end.

    A resumed run adds a start to `starts`; the other entries stay. Times are in seconds, wall time
    unless they say otherwise. Memory is in MiB: the peak allocation on the accelerator or, without
    one, the peak of the first process.

    Args:
        folder: The run directory.
        config_hash: Hash of the configuration.
        checkpoint: The checkpoint that the run resumes from, if any.
        job: Number of the SLURM job, if it is one.
    """

    def __init__(
        self,
        folder: Path,
        config_hash: str,
        checkpoint: Path | None = None,
        job: str | None = None,
    ) -> None:
        self.folder = folder
        self.config_hash = config_hash
        self.start: dict[str, Any] = {
            "began": _now(),
            "outcome": RUNNING,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "job": job,
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
        self._record: dict[str, Any] = {}
        self._clock = _Clock()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the record, or add a start to it, and start the clock.

        Until here the run may be refused, and a run that is refused changes nothing.
        """
        epoch, batch = training_position(trainer)
        self.start["from"] = {"epoch": epoch, "batch": batch}
        self.start["first_step"] = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        self._begin(trainer, pl_module)
        self._clock.resume()
        self._update(trainer)

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        before = read_record(self.folder)
        starts = before.get("starts", [])
        for start in starts:
            if start["outcome"] == RUNNING:
                start["outcome"] = KILLED
        self._record = {
            "format": FORMAT,
            "version": VERSION,
            "kind": pl_module.kind if isinstance(pl_module, Stage) else type(pl_module).__name__,
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "config_hash": self.config_hash,
            "starts": [*starts, self.start],
        }
        parts = [Path(x.log_dir).name for x in trainer.loggers if isinstance(x, CSVLogger)]
        self.start["csv"] = parts[0] if parts else None
        self.start["environment"] = environment(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the samples."""
        half = batch["train"] if isinstance(batch, dict) else batch
        size = pl_module.task.size(half) if isinstance(pl_module, Stage) else 0
        self._clock.samples += size * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock: validation does not count as training."""
        self._clock.halt()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock again."""
        if not trainer.sanity_checking:
            self._clock.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Update the record."""
        self._update(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the end, also of a run that ended before without a record of it."""
        if "from" not in self.start:
            if last_start(self.folder).get("outcome") == FINISHED:
                return
            self._begin(trainer, pl_module)
        self._clock.halt()
        self.start["outcome"] = FINISHED
        self._update(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Record what ended the run, if it had begun and the file can still be written."""
        if "from" not in self.start:
            return
        self._clock.halt()
        self.start["outcome"] = _outcome(exception)
        self.start["message"] = " ".join(str(exception).split()) or type(exception).__name__
        try:
            self._update(trainer)
        except OSError as error:  # a full disk or a lost directory may have ended the run
            print(f"nas: {self.folder / NAME} was not written: {error}", file=sys.stderr)

    def _update(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        epoch, batch = training_position(trainer)
        broken = getattr(trainer.datamodule, "broken", ())  # type: ignore[attr-defined] # set by a connector
        self.start |= {
            "until": _now(),
            "to": {"epoch": epoch, "batch": batch},
            "seconds": round(self._clock.total, 3),
            "training_seconds": round(self._clock.training, 3),
            "cpu_seconds": round(self._clock.cpu, 3),
            "samples": self._clock.samples,
            "samples_per_second": round(self._clock.rate, 3),
            "peak_memory_mib": round(peak_memory(trainer.strategy.root_device), 1),
            "broken_images": [str(path) for path in broken],
        }
        self._write()

    def _write(self) -> None:
        write_text(self.folder / NAME, json.dumps(self._record, indent=1) + "\n")


class _Clock:
    """The time since the start, and the part of it spent in training.

    Attributes:
        samples: Number of training samples so far, over all processes.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._began = time.monotonic()
        self._cpu_before = _cpu_seconds()
        self._trained = 0.0
        self._since: float | None = None

    def resume(self) -> None:
        self._since = time.monotonic()

    def halt(self) -> None:
        self._trained, self._since = self.training, None

    @property
    def total(self) -> float:
        return time.monotonic() - self._began

    @property
    def cpu(self) -> float:
        return _cpu_seconds() - self._cpu_before

    @property
    def training(self) -> float:
        return self._trained + (0 if self._since is None else time.monotonic() - self._since)

    @property
    def rate(self) -> float:
        """Samples per second of training."""
        return self.samples / self.training if self.training else 0.0


def _cpu_seconds() -> float:
    """Return the processor time of this process and of its ended children, such as workers."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def environment(trainer: Trainer) -> dict[str, Any]:
    """Describe the software and hardware of a run."""
    device = trainer.strategy.root_device
    return {
        "nas_lightning": nas_lightning.__version__,
        "git": git_revision(Path(nas_lightning.__file__).parent),
        "git_here": git_revision(Path.cwd()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(trainer.precision),
        "processes": trainer.world_size,
        "nodes": trainer.num_nodes,
        "threads": torch.get_num_threads(),
    }


def peak_memory(device: torch.device) -> float:
    """Return the peak memory so far, in MiB: allocated on a GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, else KiB


def _outcome(exception: BaseException) -> str:
    if isinstance(exception, RunRequeuedError):
        return REQUEUED
    stopped = RunInterruptedError | Stopped | KeyboardInterrupt
    return STOPPED if isinstance(exception, stopped) else FAILED


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
