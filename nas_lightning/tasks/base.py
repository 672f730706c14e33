"""Base class of tasks. The search and retrain modules know no task by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from nas_lightning.hparams import describe

Mode = Literal["min", "max"]
"""Direction in which a metric is better."""


class Task(ABC):
    """Loss and metrics of one kind of problem.

    A subclass keeps every constructor argument under its own name.

    Attributes:
        directions: Direction in which each metric is better, `max` or `min`, by its name in
            `metrics`. The first that exists is the main metric: the progress bar and TensorBoard
            show it, studies compare it, and `checkpoint.monitor: main` chooses `best.ckpt` by it.
            A metric that is missing here has its own direction, `higher_is_better`.
        replayable: True if the task's part of a step may be captured as a CUDA graph. `inputs`,
            `loss`, `regularization` and `detached` must then draw no random numbers outside
            PyTorch, not branch on the values of tensors, and keep no state between batches.
    """

    directions: ClassVar[Mapping[str, Mode]] = {}
    replayable: ClassVar[bool] = False

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Return what of a batch does not fit the data's sizes, or `None` if all does.

        It is called for the first batch of each loader, as the data module returned it, and may
        wait for the device. The default accepts every batch.

        Args:
            batch: The batch.
            data_spec: Sizes of the data.
            targets: False in a prediction, which needs no targets.
        """
        return None

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return a batch with the types that network and loss take.

        It is called for every batch, and must not wait for the device. The default changes
        nothing.

        Args:
            batch: The batch.
            dtype: Type of the network's floating-point numbers.
        """
        return batch

    def inputs(self, batch: Any, carried: Any = None) -> Any:
        """Return the input of the network for a batch. The default is its first part.

        Args:
            batch: A batch of the data module.
            carried: State that `carry` returned for the previous batch of the same stream; `None`
                for the first batch.
        """
        return batch[0]

    @abstractmethod
    def loss(self, output: Any, batch: Any) -> Tensor:
        """Return the loss to minimise, averaged over the batch ()."""

    def regularization(self, output: Any) -> Tensor | float:
        """Return a term that training adds to the inner loss. The default is 0."""
        return 0.0

    @abstractmethod
    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection | dict[str, Metric]:
        """Return new metrics by the name under which they are logged."""

    def update(self, metrics: MetricCollection, output: Any, batch: Any) -> None:
        """Update `metrics` with a batch. The default compares the output with its second part."""
        metrics.update(output, batch[1])

    @abstractmethod
    def predictions(self, output: Any) -> dict[str, Tensor]:
        """Return the columns of a predictions file by name, each (B,)."""

    def carry(self, output: Any) -> Any:
        """Return the state for the next batch of the stream, such as a hidden state, or `None`."""
        return None

    def detached(self, output: Any) -> Any:
        """Return the output, detached from its graph."""
        return output.detach()

    def size(self, batch: Any) -> int:
        """Return the number of samples in a batch, its weight in the mean over an epoch."""
        return len(batch[0])

    def rate_scale(self, batch: Any) -> float:
        """Return the factor on the weights' learning rate for a batch. The default is 1."""
        return 1.0

    def __repr__(self) -> str:
        """Return the constructor call."""
        return describe(self)
