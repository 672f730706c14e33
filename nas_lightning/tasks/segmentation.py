"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from nas_lightning.errors import DataError, UsageError
from nas_lightning.ranges import Range, check
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.parts import (
    as_index,
    as_type,
    check_output,
    describe_part,
    parts,
    wrong_images,
    wrong_range,
)

Batch = tuple[Tensor, Tensor]
DENSE = (
    "it needs a head with an output for each pixel: set head to dense, such as "
    "--model.supernet.head dense in a search and --model.network.head dense in a retraining"
)


@final
class Segmentation(Task):
    """Cross-entropy per pixel on batches of images (B, C, H, W) and masks (B, H, W) of classes.

    The metrics are `mean_iou`, the mean over the classes of intersection over union, and
    `pixel_accuracy`, both in [0, 1]. They are ratios of counts over all pixels of all images. A
    class that occurs neither in a mask nor in a prediction does not count in the mean.

    Args:
        ignore_index: Class number of pixels without a label, in which neither loss nor metrics
            count what the network predicts.

    Raises:
        UsageError: `ignore_index` is out of range.
    """

    directions: ClassVar[Mapping[str, Mode]] = {"mean_iou": "max", "pixel_accuracy": "max"}
    replayable = True

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index
        check(self, ignore_index=Range(-65535, 65535, whole=True))

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare images and masks with `in_channels`, `image_size` and `num_classes`."""
        wrong = wrong_images(batch, "masks", data_spec, targets=targets)
        if wrong or not targets:
            return wrong
        images, masks, *_ = parts(batch) or []
        size = tuple(images.shape[-2:])
        if masks.shape not in ((len(images), *size), (len(images), 1, *size)):
            return (
                f"masks must have one class number for each pixel, (B, {size[0]}, {size[1]}), "
                f"found {describe_part(masks)}: resize them with the images"
            )
        labelled = masks[masks != self.ignore_index]
        wrong = wrong_range(labelled, "masks", data_spec["num_classes"], "num_classes")
        return wrong and f"{wrong}, or set ignore_index of Segmentation"

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return images in the type of the network and masks (B, H, W) as 64-bit integers."""
        found = parts(batch)
        if not found:
            return batch
        masks = found[1:2]
        if masks and isinstance(masks[0], Tensor) and masks[0].dim() == 4:
            masks = [masks[0].squeeze(1)]
        return (as_type(found[0], dtype), *map(as_index, masks))

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of logits (B, num_classes, H, W) over all pixels, in nats.

        Pixels to ignore count 0 in the mean. It is therefore the same in one batch and in parts
        of it on several processes, however these pixels are distributed, and a batch without any
        label has the loss 0.

        Raises:
            UsageError: The output has another shape.
            DataError: On the CPU, a pixel is not of a class.
        """
        classes = output.shape[1] if isinstance(output, Tensor) and output.dim() == 4 else "classes"
        check_output(self, output, (classes, *batch[1].shape[1:]), DENSE)
        try:
            pixels = F.cross_entropy(
                output, batch[1], ignore_index=self.ignore_index, reduction="none"
            )
        except IndexError as error:  # the first batch alone is compared with num_classes
            labelled = batch[1][batch[1] != self.ignore_index]
            wrong = wrong_range(labelled, "masks", output.shape[1])
            raise DataError(f"a batch of the data: {wrong}") from error
        return pixels.mean()

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return mean intersection over union and pixel accuracy.

        Raises:
            UsageError: There is a single class, for which loss and metrics say nothing.
        """
        classes = data_spec["num_classes"]
        if classes < 2:
            raise UsageError(
                f"segmentation needs at least 2 classes, found {classes}: the background is one too"
            )
        given: dict[str, Any] = {
            "num_classes": classes,
            "ignore_index": self.ignore_index,
            "validate_args": False,  # reading the values would wait for the device
        }
        return MetricCollection(
            {
                "mean_iou": MulticlassJaccardIndex(average="macro", **given),
                "pixel_accuracy": MulticlassAccuracy(average="micro", **given),
            },
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Update the metrics with logits (B, num_classes, H, W) and masks (B, H, W)."""
        metrics.update(output.argmax(dim=1), batch[1])

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """Return masks (B, H, W) of the most probable classes for logits (B, num_classes, H, W)."""
        return {"mask": output.argmax(dim=1)}
