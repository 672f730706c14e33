"""Recorded runs: one search of each method and each strategy, which many tests read.

Each is run once: `scope_of` in `tests/conftest.py` brings its tests to one worker.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.methods import CLASSES, build, fresh

Trace = list[dict[str, Tensor]]

EXACT: dict[str, Any] = {"precision": "64-true", "max_epochs": 2, "limit_val_batches": 1}
"""Two epochs of three batches: some methods change at the start of an epoch."""
SHORT: dict[str, Any] = {"max_epochs": 3, "limit_train_batches": 2, "limit_val_batches": 1}


class Recorder(Callback):
    """Keeps α and β after every batch, and which weights the last one left without a gradient."""

    def __init__(self) -> None:
        self.trace: Trace = []
        self.without: list[str] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        self.trace.append({n: p.detach().clone() for n, p in pl_module.arch.named().items()})
        weights = pl_module.supernet.named_parameters()
        self.without = [name for name, weight in weights if weight.grad is None]


class Save(Callback):
    """Saves a checkpoint after the first batch of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (1, 0):
            trainer.save_checkpoint(self.path)


class GradientCheck(SearchStrategy):
    """Keeps the largest gradient that each architecture parameter got."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        for name, gradient in step.gradients.items():
            largest = float(gradient.abs().max())
            assert math.isfinite(largest)
            self.largest[name] = max(self.largest.get(name, 0.0), largest)


@dataclass(frozen=True)
class Recording:
    """A finished search and what happened in it.

    Attributes:
        module: The module at the end.
        trainer: Its trainer.
        data: Its data.
        trace: α and β after every batch.
        without: Names of the weights that the last batch left without a gradient.
        largest: Largest gradient of each architecture parameter, absolute.
        middle: The checkpoint after the first batch of the second epoch; `None` if none was asked.
    """

    module: SearchModule
    trainer: Trainer
    data: Synthetic
    trace: Trace
    without: list[str]
    largest: dict[str, float] = field(default_factory=dict)
    middle: Path | None = None


def search(strategies: Sequence[SearchStrategy], seed: int = 0) -> SearchModule:
    """Return a small search, with the same weights for the same seed."""
    lightning.seed_everything(seed, verbose=False)
    return SearchModule(SPEC, tiny_supernet(), strategies=list(strategies))


def data() -> Synthetic:
    """Return four classes of 8×8 pixels; a batch of each half takes 16 samples."""
    return Synthetic(
        in_channels=3,
        num_classes=4,
        image_size=8,
        train_size=48,
        test_size=16,
        batch_size=8,
    )


def run(
    strategies: Sequence[SearchStrategy], folder: Path, *callbacks: Callback, **settings: Any
) -> Recording:
    """Run a search, as far as nothing but α and β is recorded."""
    recorder, module = Recorder(), search(strategies)
    trainer = quiet_trainer(
        default_root_dir=folder, **{**EXACT, **settings}, callbacks=[recorder, *callbacks]
    )
    samples = data()
    trainer.fit(module, datamodule=samples)
    return Recording(module, trainer, samples, recorder.trace, recorder.without)


@functools.cache
def _folder() -> TemporaryDirectory[str]:
    """Return the folder of all recordings, which goes with the process."""
    return TemporaryDirectory(prefix="recorded-")


@functools.cache
def recorded(name: str) -> Recording:
    """Return the run of a method in float64, with its gradients and a checkpoint."""
    folder = Path(_folder().name) / name
    check, path = GradientCheck(), folder / "middle.ckpt"
    found = run([*fresh(name), check], folder, Save(path))
    return replace(found, largest=check.largest, middle=path)


@functools.cache
def recorded_kind(name: str) -> Recording:
    """Return a run of three epochs with a strategy and what it needs."""
    kind = next(kind for kind in CLASSES if kind.__name__ == name)
    return run(build(kind), Path(_folder().name) / name, **SHORT, precision="32-true")


@functools.cache
def recorded_without(names: str) -> Trace:
    """Return the trace of a run like `recorded_kind`, with the needed strategies alone."""
    kind = next(kind for kind in CLASSES if repr(build(kind)[:-1]) == names)
    return run(build(kind)[:-1], Path(_folder().name), **SHORT, precision="32-true").trace


def same(first: Trace, second: Trace) -> bool:
    """Return True if two traces are as long and hold the same numbers under the same names."""
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )
