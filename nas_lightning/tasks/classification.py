"""Classification of images."""

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from nas_lightning.tasks.base import Task

Batch = tuple[Tensor, Tensor]


@final
class Classification(Task):
    """Cross-entropy on batches of images (B, C, H, W) and labels (B,).

    Metrics are `accuracy` and, with more than five classes, `top5_accuracy`, both 0 to 1.

    Args:
        label_smoothing: Share of the target that is spread over all classes in the loss.
    """

    replayable = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def inputs(self, batch: Batch, carried: None = None) -> Tensor:
        """The images (B, C, H, W)."""
        return batch[0]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of logits (B, num_classes), in nats."""
        return F.cross_entropy(output, batch[1], label_smoothing=self.label_smoothing)

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Top-1 and, with more than five classes, top-5 accuracy."""
        classes = data_spec["num_classes"]
        top = {"accuracy": 1, "top5_accuracy": 5} if classes > 5 else {"accuracy": 1}
        # micro: the share of all samples, as papers report; the default averages over classes
        return MetricCollection(
            {
                name: MulticlassAccuracy(classes, top_k=k, average="micro", validate_args=False)
                for name, k in top.items()
            },
            # else metrics that count alike in the first batch share their counts ever after
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Count logits (B, num_classes) against labels (B,)."""
        metrics.update(output, batch[1])

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """The most probable class and its probability, for logits (B, num_classes)."""
        probability, label = output.softmax(dim=1).max(dim=1)
        return {"class": label, "probability": probability}
