"""What is learned: loss and metrics. The search and retrain modules know no task by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torchmetrics import MetricCollection

from nas_lightning.hparams import describe


class Task(ABC):
    """Loss and metrics of one kind of problem.

    Every argument of a subclass's constructor is kept under its own name.

    Attributes:
        replayable: Its part of a step may be captured as a CUDA graph: `inputs`, `loss`,
            `regularization` and `detached` draw nothing outside of PyTorch, decide nothing by
            values, and read of one batch nothing that another one left.
    """

    replayable: ClassVar[bool] = False

    @abstractmethod
    def inputs(self, batch: Any, carried: Any = None) -> Any:
        """What the network reads of a batch.

        Args:
            batch: A batch of the data module.
            carried: What `carry` kept of the batch before it in the same stream; none in the
                first.
        """

    @abstractmethod
    def loss(self, output: Any, batch: Any) -> Tensor:
        """The loss that is minimised, averaged over the batch ()."""

    def regularization(self, output: Any) -> Tensor | float:
        """What the inner loss has beside `loss`, of a network in training; nothing."""
        return 0.0

    @abstractmethod
    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Fresh metrics, by the name they are logged under."""

    @abstractmethod
    def update(self, metrics: MetricCollection, output: Any, batch: Any) -> None:
        """Count a batch in `metrics`."""

    @abstractmethod
    def predictions(self, output: Any) -> dict[str, Tensor]:
        """What the network's output means for users, by column, each (B,)."""

    def carry(self, output: Any) -> Any:
        """What the next batch of the same stream starts from, such as a hidden state; nothing."""
        return None

    def detached(self, output: Any) -> Any:
        """The output without its graph."""
        return output.detach()

    def size(self, batch: Any) -> int:
        """Samples in a batch, the weight of its mean loss in the mean over an epoch."""
        return len(batch[0])

    def rate_scale(self, batch: Any) -> float:
        """Factor on the weights' learning rate for this batch; 1."""
        return 1.0

    def __repr__(self) -> str:
        """Constructor call."""
        return describe(self)
