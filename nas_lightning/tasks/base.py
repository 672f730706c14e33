"""What is learned: loss and metrics. The search and retrain modules know no task by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchmetrics import MetricCollection

from nas_lightning.hparams import describe


class Task(ABC):
    """Loss and metrics of one kind of problem.

    Every argument of a subclass's constructor is kept under its own name.
    """

    @abstractmethod
    def inputs(self, batch: Any) -> Tensor:
        """What the network reads of a batch."""

    @abstractmethod
    def loss(self, output: Tensor, batch: Any) -> Tensor:
        """The loss that is minimised, averaged over the batch ()."""

    @abstractmethod
    def metrics(self, data_spec: Mapping[str, int]) -> MetricCollection:
        """Fresh metrics, by the name they are logged under."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Tensor, batch: Any) -> None:
        """Count a batch in `metrics`."""

    @abstractmethod
    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """What the network's output means for users, by column, each (B,)."""

    def __repr__(self) -> str:
        """Constructor call."""
        return describe(self)
