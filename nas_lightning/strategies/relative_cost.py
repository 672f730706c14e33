"""Expected and derived cost of mixing weights relative to a budget, and penalties on them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from nas_lightning.architecture import SearchSpace
from nas_lightning.architecture.prices import Prices
from nas_lightning.search.selection import Selection
from nas_lightning.supernet import Mixing

Form = Literal["hinge", "target", "product", "linear"]
"""Forms of `ResourcePenalty`."""
ROUNDING = 1e-6
"""Relative cost above 1 that counts as rounding."""


class RelativeCost:
    """The cost of mixing weights in multiples of a budget, on the device of α.

    Args:
        space: The search space.
        prices: Cost of every network of the space.
        budget: The budget, in the unit of the prices.
        like: A parameter, whose device and type are used.

    Attributes:
        weight: Weight of the penalty (), changed in place.
        loss: The last outer loss of the task (), changed in place.
    """

    def __init__(self, space: SearchSpace, prices: Prices, budget: float, like: Tensor) -> None:
        self._selection = Selection(space, like.device)
        self._prices = prices.to(like.device, like.dtype, budget)
        self.weight = torch.zeros((), dtype=like.dtype, device=like.device)
        self.loss = torch.zeros((), dtype=like.dtype, device=like.device)

    def fits(self, like: Tensor) -> bool:
        """Return True if device and type are those of a parameter."""
        return self.weight.device == like.device and self.weight.dtype == like.dtype

    def __call__(self, mixing: Mixing) -> tuple[Tensor, Tensor]:
        """Return the expected cost (), and that of the derived network () without a gradient."""
        expected = self._prices.total(self._selection.expected(mixing))
        with torch.no_grad():
            derived = self._prices.total(self._selection.decided(mixing))
        return expected, derived

    def term(self, form: Form, expected: Tensor, derived: Tensor) -> Tensor:
        """Return what a form of the penalty adds to the outer loss ().

        For `product` the loss is that of the last call of `scaled`.

        Args:
            form: Form of the penalty.
            expected: Expected cost ().
            derived: Cost of the derived network ().
        """
        if form == "linear":
            return self.weight * expected
        if form == "target":
            return self.weight * (expected - 1).abs()
        if form == "product":
            return self.loss * (expected**self.weight - 1)
        # a constant on top: the gradient is that of the expected cost
        missing = torch.where(derived > 1 + ROUNDING, (derived - expected).relu(), 0).detach()
        return self.weight * (expected + missing - 1).relu()

    def scaled(self, loss: Tensor, expected: Tensor) -> Tensor:
        """Return the outer loss () times the power of the expected cost () for `product`."""
        self.loss.copy_(loss.detach())
        return loss * expected**self.weight
