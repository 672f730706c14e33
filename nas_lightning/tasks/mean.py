"""A weighted mean over batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """Weighted mean of values (), such as losses of batches weighted by the batch sizes.

    The mean of torchmetrics drops values that are not finite or, with `nan_strategy="disable"`,
    ignores the weights (1.9.0). Here a loss that is not finite makes the mean not finite.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor | float, weight: float = 1.0) -> None:
        """Add a value () with its weight."""
        # not in place: training may update a state that was created in inference mode
        self.total = self.total + value * weight
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """Return the mean ()."""
        return self.total / self.weight
