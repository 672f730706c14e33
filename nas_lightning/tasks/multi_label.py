"""Classification of images that may have several labels, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelExactMatch, MultilabelF1Score

from nas_lightning.ranges import Range, check
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.parts import (
    VECTOR,
    as_type,
    check_output,
    describe_part,
    parts,
    wrong_images,
)

Batch = tuple[Tensor, Tensor]


@final
class MultiLabel(Task):
    """Binary cross-entropy on batches of images (B, C, H, W) and labels (B, L) of 0 and 1.

    The number of labels L is `num_classes` of the data. The metrics are `f1`, the mean of the F1
    scores of all labels, and `subset_accuracy`, the share of the images with all labels right, both
    in [0, 1]. Both are ratios of counts over all images, so they do not depend on batches and
    processes. A label that occurs neither among the targets nor among the predictions counts 0.

    Args:
        threshold: Probability above which a label is predicted.

    Raises:
        UsageError: `threshold` is not between 0 and 1.
    """

    directions: ClassVar[Mapping[str, Mode]] = {"f1": "max", "subset_accuracy": "max"}
    replayable = True

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        check(self, threshold=Range(high=1, above=True, below=True))

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare images and labels with `in_channels`, `image_size` and `num_classes`."""
        wrong = wrong_images(batch, "labels", data_spec, targets=targets)
        if wrong or not targets:
            return wrong
        images, labels, *_ = parts(batch) or []
        if labels.shape != (len(images), data_spec["num_classes"]):
            return (
                f"labels must have the shape (B, {data_spec['num_classes']}), one 0 or 1 for each "
                f"class, found {describe_part(labels)}: mend data_spec or the batches"
            )
        if not bool(((labels == 0) | (labels == 1)).all()):
            return "labels must be 0 or 1: replace unknown ones, or leave out their images"
        return None

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return images and labels in the type of the network."""
        found = parts(batch)
        if not found:
            return batch
        labels = [part.to(dtype) if isinstance(part, Tensor) else part for part in found[1:2]]
        return (as_type(found[0], dtype), *labels)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean binary cross-entropy of logits (B, L) over images and labels, in nats.

        Raises:
            UsageError: The output has another shape.
        """
        check_output(self, output, batch[1].shape[1:], VECTOR)
        return F.binary_cross_entropy_with_logits(output, batch[1].to(output.dtype))

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return the mean F1 score and the subset accuracy."""
        given: dict[str, Any] = {
            "num_labels": data_spec["num_classes"],
            "threshold": self.threshold,
            "validate_args": False,  # reading the values would wait for the device
        }
        return MetricCollection(
            {
                "f1": MultilabelF1Score(average="macro", **given),
                "subset_accuracy": MultilabelExactMatch(**given),
            },
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Update the metrics with logits (B, L) and labels (B, L)."""
        # logits in [0, 1] would be taken for probabilities
        metrics.update(_probability(output), batch[1].long())

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """Return the probability of each label (B, L) for logits (B, L)."""
        return {"probability": _probability(output)}


def _probability(logits: Tensor) -> Tensor:
    """Return the sigmoid of logits, in at least single precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
