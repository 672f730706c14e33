"""Precision of 32-bit products while a case runs, and after it."""

import pytest
import torch

from nas_lightning.bench.precision import PRECISIONS, computed_in, of_trainer

EXPECTED = {"tf32": ("high", True), "ieee": ("highest", False)}
DEFAULTS = ("highest", True)
"""Defaults of PyTorch: products, convolutions."""


def rounding() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_holds_within_and_not_after(precision: str) -> None:
    before = rounding()
    other = "ieee" if precision == "tf32" else "tf32"
    with computed_in(other):
        with computed_in(precision):
            assert rounding() == EXPECTED.get(precision, DEFAULTS)
        assert rounding() == EXPECTED[other]
    assert rounding() == before


def fail_in(precision: str) -> None:
    with computed_in(precision):
        raise ValueError("on purpose")


def test_a_case_that_fails_restores_the_setting() -> None:
    before = rounding()
    for precision in EXPECTED:
        with pytest.raises(ValueError, match="on purpose"):
            fail_in(precision)
        assert rounding() == before


def test_the_trainer_is_told_what_it_knows() -> None:
    told = [of_trainer(precision) for precision in PRECISIONS]
    assert told == ["32-true", "32-true", "32-true", "bf16-mixed"]
