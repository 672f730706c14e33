"""A weighted mean over batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """Mean of values () by their weights, such as the losses of batches by their sizes.

    torchmetrics' own drops values that are not finite, or, told to keep them, the weights
    (1.9.0, `nan_strategy="disable"`). A loss that is not finite must show.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor | float, weight: float = 1.0) -> None:
        """Count a value () with its weight."""
        # not in place: a state of inference mode may be counted on in training
        self.total = self.total + value * weight
        self.weight = self.weight + weight

    def compute(self) -> Tensor:
        """The mean ()."""
        return self.total / self.weight
