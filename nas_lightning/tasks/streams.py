"""Streams of batches (weight, arch, val, …): the metrics of each and what it carries along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection

from nas_lightning.tasks.base import Task


class Streams(nn.Module):
    """Metrics by stream, and the state that a task carries from one batch to the next.

    Args:
        task: Loss and metrics.
        data_spec: Sizes of the data.
        names: The streams.
    """

    def __init__(self, task: Task, data_spec: Mapping[str, int], names: Sequence[str]) -> None:
        super().__init__()
        self.task = task
        # `train` alone is a method of every module
        self.metrics = nn.ModuleDict({f"{name}_metrics": task.metrics(data_spec) for name in names})
        self.carried: dict[str, Any] = {}

    def inputs(self, stream: str, batch: Any) -> Any:
        """What the network reads of the stream's next batch."""
        return self.task.inputs(batch, self.carried.get(stream))

    def carry(self, stream: str, output: Any) -> None:
        """Keep what the stream's next batch starts from."""
        if (state := self.task.carry(output)) is not None:
            self.carried[stream] = state

    def restart(self, *streams: str) -> None:
        """Forget what the streams carried: their next batch is the first."""
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
        self.task.update(metrics, output, batch)
        size, training = self.task.size(batch), module.trainer.training
        module.log(f"{name}_loss", loss.detach(), prog_bar=True, on_step=training, on_epoch=True,
                   sync_dist=True, batch_size=size)  # fmt: skip
        for key, metric in metrics.items():
            module.log(f"{name}_{key}", metric, prog_bar=key in ("accuracy", "perplexity"),
                       on_step=False, on_epoch=True, batch_size=size)  # fmt: skip
