"""Streams of batches (weight, arch, val, …), each with metrics and a state it carries along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from nas_lightning.tasks.base import Task
from nas_lightning.tasks.mean import Mean


class Streams(nn.Module):
    """Metrics by stream, and the state that a task carries from one batch to the next.

    Args:
        task: Loss and metrics.
        data_spec: Sizes of the data.
        names: Names of the streams.
    """

    def __init__(self, task: Task, data_spec: Mapping[str, Any], names: Sequence[str]) -> None:
        super().__init__()
        self.task = task
        self.names = tuple(names)
        # with a suffix, since `train` is a method of every module
        self.metrics = nn.ModuleDict({f"{name}_metrics": task.metrics(data_spec) for name in names})
        self.losses = nn.ModuleDict({f"{name}_loss": Mean() for name in names})
        self.means = nn.ModuleDict()
        self.carried: dict[str, Any] = {}

    def inputs(self, stream: str, batch: Any) -> Any:
        """Return the input of the network for the next batch of a stream."""
        return self.task.inputs(batch, self.carried.get(stream))

    def carry(self, stream: str, output: Any) -> None:
        """Keep the state from which the next batch of a stream starts."""
        if (state := self.task.carry(output)) is not None:
            self.carried[stream] = state

    def restart(self, *streams: str) -> None:
        """Drop the carried states, so that the next batch of each stream counts as its first."""
        for stream in streams:
            self.carried.pop(stream, None)

    @torch.no_grad()
    def report(
        self,
        module: LightningModule,
        stream: str,
        name: str,
        batch: Any,
        output: Any,
        loss: Tensor,
    ) -> None:
        """Log the loss as `<name>_loss` and the task's metrics as `<name>_<metric>`."""
        metrics = cast("MetricCollection", self.metrics[f"{stream}_metrics"])
        mean = cast("Mean", self.losses[f"{stream}_loss"])
        self.task.update(metrics, output, batch)
        size, training = self.task.size(batch), module.trainer.training
        mean(loss.detach(), size)
        # the progress bar reads the losses of steps itself: with `prog_bar`, Lightning would wait
        # for the device in every step
        module.log(f"{name}_loss", mean, prog_bar=not training, on_step=training, on_epoch=True,
                   batch_size=size)  # fmt: skip
        for key, metric in metrics.items():
            module.log(f"{name}_{key}", metric, prog_bar=key in ("accuracy", "perplexity", "psnr"),
                       on_step=False, on_epoch=True, batch_size=size)  # fmt: skip

    def logged(self, stream: str, name: str, *, training: bool) -> dict[str, bool | None]:
        """Return the names under which `report` logs an epoch of a stream.

        Args:
            stream: The stream.
            name: Prefix of the names.
            training: True if the stream has training batches.

        Returns:
            True by name if higher is better, False if lower is better, `None` if the metric does
            not say.
        """
        losses = ("loss", "loss_step", "loss_epoch") if training else ("loss",)
        metrics = cast("MetricCollection", self.metrics[f"{stream}_metrics"])
        found: dict[str, bool | None] = {f"{name}_{loss}": False for loss in losses}
        return found | {f"{name}_{key}": item.higher_is_better for key, item in metrics.items()}

    def mean(self, module: LightningModule, values: Mapping[str, Tensor | float]) -> None:
        """Log the mean over an epoch of values that are equal on all processes.

        Unlike Lightning's own means, these are restored from a checkpoint within the epoch.

        Args:
            module: Module that logs.
            values: Numbers () by the name under which they are logged.
        """
        for name, value in values.items():
            if name not in self.means:
                # equal on all processes, so there is nothing to gather
                self.means[name] = Mean(sync_on_compute=False).to(module.device)
            mean = cast("Mean", self.means[name])
            mean.update(value)
            module.log(name, mean, on_step=False, on_epoch=True,
                       metric_attribute=f"streams.means.{name}")  # fmt: skip

    def state(self, *streams: str) -> dict[str, Any]:
        """Return the carried states and the counts so far, for resuming within an epoch.

        Args:
            *streams: Streams that are in the middle of an epoch.
        """
        return {
            "carried": {name: self.carried[name] for name in streams if name in self.carried},
            "means": list(self.means),
            "counts": {name: metric.metric_state for name, metric in self._counting(streams)},
        }

    def go_on(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore a result of `state`, whose tensors may be on any device."""
        state = move_data_to_device(state, device)
        self.carried.update(state["carried"])
        for name in state["means"]:
            self.means[name] = Mean(sync_on_compute=False).to(device)
        counting = dict(self._counting(self.names))
        for name, values in state["counts"].items():
            for key, value in values.items():
                setattr(counting[name], key, value)

    def _counting(self, streams: Sequence[str]) -> Iterator[tuple[str, Metric]]:
        """Yield the losses and metrics of these streams, and all means, with their names."""
        for stream in streams:
            yield f"{stream}_loss", cast("Mean", self.losses[f"{stream}_loss"])
            for key, metric in cast("MetricCollection", self.metrics[f"{stream}_metrics"]).items():
                yield f"{stream}_metrics/{key}", metric
        yield from cast("Iterable[tuple[str, Metric]]", self.means.items())
