"""How 32-bit products are computed while a case runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas_lightning.callbacks.tf32 import DEFAULT, OFF, ON, set_tf32

PRECISIONS = ("32-true", "tf32", "ieee", "bf16-mixed")
"""`32-true`: torch's defaults, which on CUDA compute convolutions in TF32 and other products not;
`tf32`: all in TF32; `ieee`: none; `bf16-mixed`: as the trainer calls it."""
INSIDE = {"tf32": ON, "ieee": OFF}
"""Those that the trainer does not know."""


def of_trainer(precision: str) -> str:
    """What the trainer is told."""
    return "32-true" if precision in INSIDE else precision


@contextmanager
def computed_in(precision: str) -> Iterator[None]:
    """Compute 32-bit products on CUDA as `PRECISIONS` says; put back what was set before."""
    before = set_tf32(INSIDE.get(precision, DEFAULT))
    try:
        yield
    finally:
        set_tf32(before)
