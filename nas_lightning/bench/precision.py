"""How 32-bit products are computed while a case runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("32-true", "tf32", "ieee", "bf16-mixed")
"""`32-true`: torch's defaults, which on CUDA compute convolutions in TF32 and other products not;
`tf32`: all in TF32; `ieee`: none; `bf16-mixed`: as the trainer calls it."""
INSIDE = {"tf32": ("high", True), "ieee": ("highest", False)}
"""Of those that the trainer does not know: products and convolutions."""
DEFAULT = ("highest", True)


def of_trainer(precision: str) -> str:
    """What the trainer is told."""
    return "32-true" if precision in INSIDE else precision


@contextmanager
def computed_in(precision: str) -> Iterator[None]:
    """Compute 32-bit products on CUDA as `PRECISIONS` says; put back what was set before."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        _set(*INSIDE.get(precision, DEFAULT))
        yield
    finally:
        _set(*before)


def _set(products: str, convolutions: bool) -> None:
    # the older of torch's two interfaces: they do not mix, and Lightning reads this one
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
