"""Classification of images."""

from collections.abc import Mapping
from typing import Any, cast, final

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from nas_lightning.tasks.base import Task
from nas_lightning.tasks.mean import Mean

TOP = (("accuracy", 1), ("top5_accuracy", 5))
"""Names of the metrics, and the number k of each: a hit has its label in the k best classes."""
Batch = tuple[Tensor, Tensor]


@final
class Classification(Task):
    """Cross-entropy on batches of images (B, C, H, W) and labels (B,).

    The metrics are `accuracy` and, with more than five classes, `top5_accuracy`, both in [0, 1].

    Args:
        label_smoothing: Share of the target that the loss spreads evenly over all classes.
    """

    replayable = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def inputs(self, batch: Batch, carried: None = None) -> Tensor:
        """Return the images (B, C, H, W)."""
        return batch[0]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of logits (B, num_classes), in nats."""
        return F.cross_entropy(output, batch[1], label_smoothing=self.label_smoothing)

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return top-1 and, with more than five classes, top-5 accuracy."""
        # means of hits, since top-5 of torchmetrics takes some forty operations per step
        top = TOP if data_spec["num_classes"] > 5 else TOP[:1]
        # compute groups merge metrics whose states are equal after the first batch
        return MetricCollection({name: Mean() for name, _ in top}, compute_groups=False)

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Update the metrics with logits (B, num_classes) and labels (B,)."""
        names = [(name, k) for name, k in TOP if name in metrics]
        size, best = len(batch[1]), output.topk(names[-1][1], dim=1).indices
        hits = best == batch[1][:, None]
        for name, k in names:
            cast("Mean", metrics[name]).update(hits[:, :k].sum() / size, size)

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """Return the most probable class and its probability for logits (B, num_classes)."""
        probability, label = output.softmax(dim=1).max(dim=1)
        return {"class": label, "probability": probability}
