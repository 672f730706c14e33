"""Reconstruction of signals and images from measurements."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from nas_lightning.operators import build_operator
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.parts import as_type, parts, wrong_numbers, wrong_pair, wrong_shape

Batch = tuple[Tensor, Tensor]
_WINDOW = 11  # pixels: side of the Gaussian window of SSIM with its usual sigma of 1.5


@final
class Reconstruction(Task):
    """Mean squared error on batches of measurements (B, C, *m) and targets (B, C, *n).

    The metrics are `psnr`, 10 · log10(peak² / mean squared error over all samples) in dB, and, for
    images of at least 11 by 11 pixels, `ssim`, which is 1 for equal images. The data module sets
    the peak.
    """

    directions: ClassVar[Mapping[str, Mode]] = {"psnr": "max", "ssim": "max"}
    replayable = True

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare measurements and targets with the sizes and the operator of `data_spec`."""
        if wrong := wrong_pair(batch, "measurements", "targets", targets=targets):
            return wrong
        channels, size = data_spec["in_channels"], data_spec["image_size"]
        shape: tuple[int, ...] = (size,) * data_spec["dims"]
        names = ("measurements", "targets") if targets else ("measurements",)
        for name, part in zip(names, parts(batch) or (), strict=False):
            here = shape
            if name == "measurements":
                here = tuple(
                    build_operator(data_spec["operator"])(torch.zeros(1, 1, *shape)).shape[2:]
                )
            wrong = wrong_shape(part, name, (channels, *here)) or wrong_numbers(
                part, name, "convert them by .float()"
            )
            if wrong:
                return wrong
        return None

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return measurements and targets in the type of the network."""
        return tuple(as_type(part, dtype) for part in parts(batch) or ())

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error of reconstructions (B, C, *n)."""
        return F.mse_loss(output, batch[1])

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return PSNR and, for images, SSIM."""
        peak = float(data_spec["peak"])
        metrics: dict[str, Metric | MetricCollection] = {
            "psnr": PeakSignalNoiseRatio(data_range=peak)
        }
        if data_spec["dims"] == 2 and data_spec["image_size"] >= _WINDOW:
            metrics["ssim"] = StructuralSimilarityIndexMeasure(data_range=peak)
        # compute groups merge metrics whose states are equal after the first batch
        return MetricCollection(metrics, compute_groups=False)

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Update the metrics with reconstructions (B, C, *n) and targets (B, C, *n)."""
        metrics.update(output.to(batch[1].dtype), batch[1])  # autocast produces bfloat16

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """Return the reconstructions, with one column `x0`, `x1`, … per entry of (C, *n)."""
        return {f"x{i}": column for i, column in enumerate(output.flatten(1).unbind(dim=1))}
