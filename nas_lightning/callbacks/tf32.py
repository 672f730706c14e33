"""TF32, the rounding of the factors of 32-bit products to 10 bits on a GPU."""

from __future__ import annotations

from typing import NamedTuple

import torch


class TF32(NamedTuple):
    """The TF32 settings of a process.

    Attributes:
        products: Precision of matrix products: `high` for TF32, `highest` without rounding.
        convolutions: True if convolutions may use TF32.
    """

    products: str
    convolutions: bool


ON, OFF = TF32("high", True), TF32("highest", False)
DEFAULT = TF32("highest", True)
"""The default of PyTorch."""


def set_tf32(new: TF32) -> TF32:
    """Set TF32 for matrix products and convolutions, and return the previous settings."""
    # the older of PyTorch's two interfaces: Lightning reads it, which is an error after a setting
    # through the newer one
    before = TF32(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision(new.products)
    torch.backends.cudnn.allow_tf32 = new.convolutions
    return before
