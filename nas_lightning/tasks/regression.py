"""Regression: one or more numbers for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection

from nas_lightning.errors import UsageError
from nas_lightning.ranges import LARGEST, POSITIVE, Range, check_value
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.parts import (
    VECTOR,
    as_type,
    check_output,
    describe_part,
    parts,
    wrong_images,
    wrong_numbers,
)

Batch = tuple[Tensor, Tensor]
NUMBER = Range(low=-LARGEST)
ROUNDING = 1e-12
"""Squared deviations, as a share of the sum of squares, that rounding alone may leave."""


class R2(Metric):
    """Coefficient of determination, the mean over the values of 1 - squared errors / deviations².

    The sums are of double precision, since the squared deviations are a small difference of large
    sums if the mean is large. A value that is the same in all samples counts 0. That of
    torchmetrics (1.9) takes sums of squares below 1e-4 for 0, in whatever unit.
    """

    full_state_update = False
    higher_is_better = True
    errors: Tensor
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, values: int) -> None:
        super().__init__()
        for name in ("errors", "total", "squares"):
            zero = torch.zeros(values, dtype=torch.float64)
            self.add_state(name, zero, dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, found: Tensor, target: Tensor) -> None:
        """Add predictions and targets (B, K)."""
        found, target = found.double(), target.double()
        self.errors = self.errors + (found - target).square().sum(dim=0)
        self.total = self.total + target.sum(dim=0)
        self.squares = self.squares + target.square().sum(dim=0)
        self.count = self.count + len(target)

    def compute(self) -> Tensor:
        """Return the mean coefficient ()."""
        deviations = self.squares - self.total.square() / self.count
        varies = deviations > ROUNDING * self.squares
        return torch.where(varies, 1 - self.errors / deviations, 0.0).mean()


@final
class Regression(Task):
    """Mean squared error on batches of images (B, C, H, W) and values (B, K), or (B,) for K = 1.

    The number of values K is `num_classes` of the data, the number of the network's outputs. An
    output o stands for the value `center + scale · o`. The loss is the mean squared error of the
    outputs, that is, of values in units of `scale`. The metrics are in the units of the data:
    `mae`, the mean absolute error, `mse`, the mean squared error, and `r2`, the coefficient of
    determination, which is 1 for exact predictions and 0 for the mean of the values. They are
    computed from sums over all samples, so they do not depend on batches and processes.

    Args:
        center: Value for which the output is 0, one number or one for each value. Their mean over
            the training set is a good choice.
        scale: Value of one unit of the output, one number or one for each value. Their standard
            deviation over the training set is a good choice.

    Raises:
        UsageError: An argument is not a finite number, a scale is not positive, or there are
            numbers for other numbers of values.
    """

    directions: ClassVar[Mapping[str, Mode]] = {"mae": "min", "mse": "min", "r2": "max"}
    replayable = True

    def __init__(
        self, center: float | Sequence[float] = 0.0, scale: float | Sequence[float] = 1.0
    ) -> None:
        self.center = center
        self.scale = scale
        for name, wanted in (("center", NUMBER), ("scale", POSITIVE)):
            for value in _listed(getattr(self, name)):
                check_value(f"{type(self).__name__}: {name}", value, wanted)
        counts = {len(_listed(one)) for one in (center, scale)} - {1}
        if len(counts) > 1 or 0 in counts:
            raise UsageError(
                "Regression: center and scale must have one number, or one for each value, found "
                f"{len(_listed(center))} and {len(_listed(scale))}"
            )
        self._on: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare images and values with `in_channels`, `image_size` and `num_classes`."""
        wrong = wrong_images(batch, "values", data_spec, targets=targets)
        if wrong or not targets:
            return wrong
        images, values, *_ = parts(batch) or []
        count = data_spec["num_classes"]
        if values.shape != (len(images), count) and (count > 1 or values.shape != (len(images),)):
            return (
                f"values must have the shape (B, {count}) of num_classes in data_spec, found "
                f"{describe_part(values)}: mend data_spec or the batches"
            )
        for name in ("center", "scale"):
            if len(_listed(getattr(self, name))) not in (1, count):
                return (
                    f"Regression: {name} has {len(_listed(getattr(self, name)))} numbers for "
                    f"{count} values: give one for each, or a single one"
                )
        return wrong_numbers(values.double(), "values")

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return images and scaled values (B, K), (value - center) / scale, as the network's type.

        Values are scaled in double precision, since half precision has few digits of large ones.
        """
        found = parts(batch)
        if not found:
            return batch
        values = found[1:2]
        if values and isinstance(values[0], Tensor):
            one = values[0] if values[0].dim() > 1 else values[0][:, None]
            center, scale = self._constants(one.device)
            values = [((one - center) / scale).to(dtype)]
        return (as_type(found[0], dtype), *values)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error of outputs (B, K) and scaled values (B, K).

        Raises:
            UsageError: The output has another shape.
        """
        check_output(self, output, batch[1].shape[1:], VECTOR)
        return F.mse_loss(output, batch[1])

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return mean absolute error, mean squared error and coefficient of determination."""
        return MetricCollection(
            {
                "mae": MeanAbsoluteError(),
                "mse": MeanSquaredError(),
                "r2": R2(data_spec["num_classes"]),
            },
            compute_groups=False,
        )

    def update(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        """Update the metrics with outputs (B, K) and scaled values (B, K)."""
        metrics.update(self._values(output), self._values(batch[1]))

    def predictions(self, output: Tensor) -> dict[str, Tensor]:
        """Return the values (B, K), in the units of the data, for outputs (B, K)."""
        return {"value": self._values(output)}

    def _values(self, scaled: Tensor) -> Tensor:
        """Return values in the units of the data (B, K)."""
        center, scale = self._constants(scaled.device)
        return center + scale * scaled

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return center and scale (K,) or (1,) on a device, to which they are copied once."""
        if device not in self._on:
            self._on[device] = (
                torch.tensor(_listed(self.center), dtype=torch.float64, device=device),
                torch.tensor(_listed(self.scale), dtype=torch.float64, device=device),
            )
        return self._on[device]


def _listed(value: float | Sequence[float]) -> list[float]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [value]
