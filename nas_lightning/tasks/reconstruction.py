"""Reconstruction of signals and images from measurements."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, final

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from nas_lightning.tasks.base import Task

Batch = tuple[Tensor, Tensor]
_WINDOW = 11  # pixels: side of the Gaussian window of SSIM with its usual sigma of 1.5


@final
class Reconstruction(Task):
    """Mean squared error on batches of measurements (B, C, *m) and truths (B, C, *n).

    Metrics are `psnr`, 10 · log10(peak² / mean squared error of all samples together) in dB, and,
    for images of at least 11 by 11 pixels, `ssim`, 1 for equal images. The peak is the data's.
    """

    replayable = True

    def inputs(self, batch: Batch, carried: None = None) -> Tensor:
        """The measurements (B, C, *m)."""
        return batch[0]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of reconstructions (B, C, *n)."""
        return F.mse_loss(output, batch[1])

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """PSNR and, for images, SSIM."""
        peak = float(data_spec["peak"])
        metrics: dict[str, Metric | MetricCollection] = {
            "psnr": PeakSignalNoiseRatio(data_range=peak)
        }
        if data_spec["dims"] == 2 and data_spec["image_size"] >= _WINDOW:
            metrics["ssim"] = StructuralSimilarityIndexMeasure(data_range=peak)
        # else metrics that count alike in the first batch share their counts ever after
        return MetricCollection(metrics, compute_groups=False)

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Count reconstructions (B, C, *n) against truths (B, C, *n)."""
        for metric in metrics.values():
            # these count in place, which training must not do on states of inference mode
            for name, state in metric.metric_state.items():
                setattr(metric, name, deepcopy(state))
        metrics.update(output.to(batch[1].dtype), batch[1])  # autocast gives bfloat16

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """The reconstructions, a column for each value `x0`, `x1`, … of a flattened (C, *n)."""
        return {f"x{i}": column for i, column in enumerate(output.flatten(1).unbind(dim=1))}
