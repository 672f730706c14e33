"""Classification of images."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from nas_lightning.errors import DataError, UsageError
from nas_lightning.ranges import PROBABILITY, check
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.mean import Mean
from nas_lightning.tasks.parts import (
    VECTOR,
    as_index,
    as_type,
    check_output,
    describe_part,
    parts,
    wrong_images,
    wrong_range,
)

TOP = (("accuracy", 1), ("top5_accuracy", 5))
"""Names of the metrics, and the number k of each: a hit has its label in the k best classes."""
Batch = tuple[Tensor, Tensor]


class Accuracy(Mean):
    """Share of the samples that are classified correctly."""

    higher_is_better = True


@final
class Classification(Task):
    """Cross-entropy on batches of images (B, C, H, W) and labels (B,).

    The metrics are `accuracy` and, with more than five classes, `top5_accuracy`, both in [0, 1].

    Args:
        label_smoothing: Share of the target that the loss spreads evenly over all classes.

    Raises:
        UsageError: `label_smoothing` is not in [0, 1).
    """

    directions: ClassVar[Mapping[str, Mode]] = {"accuracy": "max", "top5_accuracy": "max"}
    replayable = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing
        check(self, label_smoothing=PROBABILITY)

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare images and labels with `in_channels`, `image_size` and `num_classes`."""
        wrong = wrong_images(batch, "labels", data_spec, targets=targets)
        if wrong or not targets:
            return wrong
        images, *labels = parts(batch) or [batch]
        if labels[0].shape not in ((len(images),), (len(images), 1)):
            return (
                f"labels must be one class number each, (B,), found {describe_part(labels[0])}: "
                f"take argmax(1) of one-hot labels"
            )
        return wrong_range(labels[0], "labels", data_spec["num_classes"], "num_classes")

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return images in the type of the network and labels (B,) as 64-bit integers.

        Labels (B, 1) become (B,). Parts beyond these two are dropped.
        """
        found = parts(batch)
        if not found:
            return batch
        labels = found[1:2]
        if labels and isinstance(labels[0], Tensor) and labels[0].dim() == 2:
            labels = [labels[0].squeeze(1)]
        return (as_type(found[0], dtype), *map(as_index, labels))

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of logits (B, num_classes), in nats.

        Raises:
            UsageError: The output has another shape.
            DataError: On the CPU, a label is not a class number.
        """
        shape = output.shape[1:2] if isinstance(output, Tensor) else ("num_classes",)
        check_output(self, output, shape, VECTOR)
        try:
            return F.cross_entropy(output, batch[1], label_smoothing=self.label_smoothing)
        except IndexError as error:  # the first batch alone is compared with num_classes
            wrong = wrong_range(batch[1], "labels", output.shape[1])
            raise DataError(f"a batch of the data: {wrong}") from error

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return top-1 and, with more than five classes, top-5 accuracy.

        Raises:
            UsageError: There is a single class, for which loss and accuracy say nothing.
        """
        if data_spec["num_classes"] < 2:
            raise UsageError(
                f"classification needs at least 2 classes, found {data_spec['num_classes']}: every "
                f"answer would be right"
            )
        # means of hits, since top-5 of torchmetrics takes some forty operations per step
        top = TOP if data_spec["num_classes"] > 5 else TOP[:1]
        # compute groups merge metrics whose states are equal after the first batch
        return MetricCollection({name: Accuracy() for name, _ in top}, compute_groups=False)

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
