"""Precision of 32-bit products while a case runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas_lightning.callbacks.tf32 import DEFAULT, OFF, ON, set_tf32

PRECISIONS = ("32-true", "tf32", "ieee", "bf16-mixed")
"""`32-true`: PyTorch's default, which on CUDA computes convolutions in TF32 but not other products;
`tf32`: all products in TF32; `ieee`: none in TF32; `bf16-mixed`: the trainer's mixed precision."""
INSIDE = {"tf32": ON, "ieee": OFF}
"""Precisions that the trainer does not know."""


def of_trainer(precision: str) -> str:
    """Return the `precision` argument of the trainer."""
    return "32-true" if precision in INSIDE else precision


@contextmanager
def computed_in(precision: str) -> Iterator[None]:
    """Compute 32-bit products on CUDA as `PRECISIONS` says; restore the previous setting after."""
    before = set_tf32(INSIDE.get(precision, DEFAULT))
    try:
        yield
    finally:
        set_tf32(before)
