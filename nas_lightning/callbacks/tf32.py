"""TF32: whether a GPU may round the factors of 32-bit products to 10 bits."""

from __future__ import annotations

from typing import NamedTuple

import torch


class TF32(NamedTuple):
    """What may be rounded, in this process.

    Attributes:
        products: Of matrix products: `high` for TF32, `highest` for none.
        convolutions: Whether convolutions may be.
    """

    products: str
    convolutions: bool


ON, OFF = TF32("high", True), TF32("highest", False)
DEFAULT = TF32("highest", True)
"""As PyTorch sets it."""


def set_tf32(new: TF32) -> TF32:
    """Set both; returns what was set before, which puts it back."""
    # the older of PyTorch's two interfaces: Lightning asks for it, and it is an error to ask for
    # what was set through the newer one
    before = TF32(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision(new.products)
    torch.backends.cudnn.allow_tf32 = new.convolutions
    return before
