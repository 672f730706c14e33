"""Measure mixing weights: the metrics of a supernet on the whole validation data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning import Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas_lightning.errors import DivergedError, UsageError
from nas_lightning.supernet import Mixing
from nas_lightning.supernet.execution import UnmovedBuffers

if TYPE_CHECKING:
    from nas_lightning.search.module import SearchModule

LOSS = "loss"
"""Name of the task's loss among the metrics."""


class BetweenMeasurements(ABC):
    """A callback that may end the run between two measurements."""

    @abstractmethod
    def on_measured(self, trainer: Trainer) -> None:
        """Called after each measurement; raise an error to end the run.

        The last checkpoint is then that of the end of the previous epoch.
        """


def check_validation(trainer: Trainer, by: str) -> None:
    """Check that a run has validation data.

    Args:
        trainer: Its trainer.
        by: What measures on it, for the message.

    Raises:
        UsageError: It has none.
    """
    if trainer.limit_val_batches == 0:
        raise UsageError(
            f"{by} measures on the validation data, of which trainer.limit_val_batches 0 leaves "
            f"nothing: remove that setting"
        )
    _set_up(trainer)
    if sum(trainer.fit_loop.epoch_loop.val_loop.max_batches) == 0:
        raise UsageError(
            f"{by} measures on the validation data, but there is none: set data.single_level to "
            f"false, or give the data module a val_dataloader"
        )


def check_metric(module: SearchModule, metric: str, by: str) -> None:
    """Check that a task has a metric, and that its better direction is known.

    Args:
        module: The search.
        metric: `main`, `loss` or the name of a metric.
        by: What compares by it, for the message.

    Raises:
        UsageError: It has not.
    """
    known = module.streams.directions
    name = module.streams.main if metric == "main" else metric
    if name != LOSS and name not in known:
        raise UsageError(
            f"{by}: metric {metric!r} is unknown; choose from main, {LOSS}, {', '.join(known)}"
        )
    if name != LOSS and known[name] is None:
        raise UsageError(
            f"{by}: nothing says if {name} is better towards max or min: declare it in directions "
            f"of {type(module.task).__name__}, or set metric to {LOSS}"
        )


def quality(module: SearchModule, metrics: dict[str, float], metric: str) -> float:
    """Return one of the metrics that were measured, with the sign under which more is better."""
    name = module.streams.main if metric == "main" else metric
    higher = name != LOSS and module.streams.directions[name] == "max"
    return metrics[name] if higher else -metrics[name]


@torch.no_grad()
def measure(module: SearchModule, mixing: Mixing) -> dict[str, float]:
    """Return loss and metrics of the supernet under mixing weights, on all validation data.

    Batch norm uses the statistics of each batch, and its running statistics stay as they are; drop
    path and dropout are off. Random operations draw the same numbers in each measurement of an
    epoch, and the generators of the run are not moved. The values are those of the samples of all
    processes, so every process gets the same. Cost: one forward pass over the validation data.

    Args:
        module: A search within a fit.
        mixing: The mixing weights.

    Raises:
        DivergedError: The loss is not finite.
        NASError: The run was asked to stop, see `BetweenMeasurements`.
    """
    trainer = module.trainer
    metrics, loss = module.streams.fresh("val", module.device)
    module.streams.restart("val")
    cuda = [module.device] if module.device.type == "cuda" else []
    with (
        torch.random.fork_rng(cuda),
        evaluated(module.supernet),
        UnmovedBuffers([module.supernet]),
        trainer.precision_plugin.forward_context(),
    ):
        for index, batch in enumerate(_batches(trainer, module)):
            module.seed_draws(-1 - index)  # other draws than in a training step
            output = module.supernet(module.streams.inputs("val", batch), mixing)
            loss.update(module.task.loss(output, batch).detach(), module.task.size(batch))
            module.task.update(metrics, output, batch)
            module.streams.carry("val", output)
    module.streams.restart("val")
    found = {LOSS: float(loss.compute())}
    found |= {name: float(value) for name, value in metrics.compute().items()}
    if not math.isfinite(found[LOSS]):
        raise DivergedError(
            f"the validation loss of the supernet is {found[LOSS]} at the start of epoch "
            f"{module.current_epoch + 1}"
        )
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        if isinstance(callback, BetweenMeasurements):
            callback.on_measured(trainer)
    return found


@contextmanager
def evaluated(network: nn.Module) -> Iterator[None]:
    """Let a network be in evaluation inside the context, with batch norms in training."""
    before = [(part, part.training) for part in network.modules()]
    for part, _ in before:
        part.training = isinstance(part, _BatchNorm)
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _set_up(trainer: Trainer) -> None:
    """Let Lightning ask for the validation loader, which it does late if it validates rarely."""
    trainer.validating = True
    try:
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
    finally:
        trainer.training = True


def _batches(trainer: Trainer, module: SearchModule) -> Iterator[Any]:
    """Yield the batches of the validation, on the device and in the form that the task takes."""
    _set_up(trainer)
    loop = trainer.fit_loop.epoch_loop.val_loop
    loader = loop._combined_loader
    assert loader is not None
    loader.limits = loop.max_batches
    for batch, _, place in iter(loader):
        batch = trainer.precision_plugin.convert_input(batch)
        batch = trainer.strategy.batch_to_device(batch, dataloader_idx=place)
        yield module.accept("val_dataloader", batch)
