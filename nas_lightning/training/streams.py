"""Streams of batches (weight, arch, val, …), each with metrics and a state it carries along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.directions import collected, directions
from nas_lightning.tasks.mean import Mean


class Streams(nn.Module):
    """Metrics by stream, and the state that a task carries from one batch to the next.

    Args:
        task: Loss and metrics.
        data_spec: Sizes of the data.
        names: Names of the streams.

    Attributes:
        directions: Direction in which each metric of the task is better, by name; `None` if
            nothing says. The main metric comes first.

    Raises:
        UsageError: The task's metrics, or their directions, are wrong.
    """

    def __init__(self, task: Task, data_spec: Mapping[str, Any], names: Sequence[str]) -> None:
        super().__init__()
        self.task = task
        self.names = tuple(names)
        # with a suffix, since `train` is a method of every module
        self.metrics = nn.ModuleDict(
            {f"{name}_metrics": collected(task, task.metrics(data_spec)) for name in names}
        )
        self.directions: dict[str, Mode | None] = directions(task, self._metrics(self.names[0]))
        self.losses = nn.ModuleDict({f"{name}_loss": Mean() for name in names})
        self.means = nn.ModuleDict()
        self.carried: dict[str, Any] = {}
        self._restored: list[str] = []

    @property
    def main(self) -> str:
        """Name of the task's main metric."""
        return next(iter(self.directions))

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
        metrics = self._metrics(stream)
        mean = cast("Mean", self.losses[f"{stream}_loss"])
        for metric in metrics.values():
            _leave_inference(metric)
        self.task.update(metrics, output, batch)
        size, training = self.task.size(batch), module.trainer.training
        mean(loss.detach(), size)
        # the progress bar reads the losses of steps itself: with `prog_bar`, Lightning would wait
        # for the device in every step
        module.log(f"{name}_loss", mean, prog_bar=not training, on_step=training, on_epoch=True,
                   batch_size=size)  # fmt: skip
        for key, metric in metrics.items():
            module.log(f"{name}_{key}", metric, prog_bar=key == self.main,
                       on_step=False, on_epoch=True, batch_size=size)  # fmt: skip

    def fresh(self, stream: str, device: torch.device) -> tuple[MetricCollection, Mean]:
        """Return new metrics like those of a stream, and a mean for its loss."""
        metrics = self._metrics(stream).clone()
        metrics.reset()
        return metrics, Mean().to(device)

    def logged(self, name: str, *, training: bool) -> dict[str, Mode | None]:
        """Return the names under which `report` logs an epoch of a stream.

        Args:
            name: Prefix of the names.
            training: True if the stream has training batches.

        Returns:
            By name the direction in which the metric is better; `None` if nothing says.
        """
        losses = ("loss", "loss_step", "loss_epoch") if training else ("loss",)
        found: dict[str, Mode | None] = {f"{name}_{loss}": "min" for loss in losses}
        return found | {f"{name}_{key}": mode for key, mode in self.directions.items()}

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
            cast("Mean", self.means[name]).update(value)
            self._log_mean(module, name)

    def log_restored(self, module: LightningModule) -> None:
        """Log the means of the batches before a stop: no later batch of the epoch may add to them.

        Args:
            module: Module that logs.
        """
        names, self._restored = self._restored, []
        for name in names:
            self._log_mean(module, name)

    def _log_mean(self, module: LightningModule, name: str) -> None:
        mean = cast("Mean", self.means[name])
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
        for name in state["means"]:
            mean = cast("Mean", self.means[name])
            if mean.weight > 0:
                mean.update(0.0, 0.0)  # adds nothing; torchmetrics counts the calls
                self._restored.append(name)

    def _counting(self, streams: Sequence[str]) -> Iterator[tuple[str, Metric]]:
        """Yield the losses and metrics of these streams, and all means, with their names."""
        for stream in streams:
            yield f"{stream}_loss", cast("Mean", self.losses[f"{stream}_loss"])
            for key, metric in self._metrics(stream).items():
                yield f"{stream}_metrics/{key}", metric
        yield from cast("Iterable[tuple[str, Metric]]", self.means.items())

    def _metrics(self, stream: str) -> MetricCollection:
        return cast("MetricCollection", self.metrics[f"{stream}_metrics"])


def _leave_inference(metric: Metric) -> None:
    """Replace states that were created in inference mode, which training cannot change in place.

    Evaluations reset metrics in inference mode, and many metrics of torchmetrics update in place.
    """
    if not torch.is_inference_mode_enabled():
        for name, state in metric.metric_state.items():
            if isinstance(state, Tensor) and state.is_inference():
                setattr(metric, name, state.clone())
