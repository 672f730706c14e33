"""The words for how clearly a proxy reflects the final metric, at the ends of its interval."""

from dataclasses import replace

import pytest

from nas_lightning.studies.correlation import Correlation
from nas_lightning.studies.report.proxies import CLEAR, strength

TAU = Correlation("Kendall τ-b", 0.2, 0.1, 0.3, 0.01, 20)


@pytest.mark.parametrize(
    ("low", "value", "high", "word"),
    [
        (-0.3, -0.2, -1e-9, "against"),
        (-0.3, -0.2, 0.0, "does not"),
        (0.0, 0.2, 0.3, "does not"),
        (1e-9, 0.2, 0.3, "weakly"),
        (1e-9, CLEAR - 1e-9, 0.9, "weakly"),
        (1e-9, CLEAR, 0.9, "clearly"),
    ],
)
def test_an_interval_that_reaches_zero_shows_nothing(
    low: float, value: float, high: float, word: str
) -> None:
    assert strength(replace(TAU, low=low, value=value, high=high)) == word


@pytest.mark.parametrize(
    "tau",
    [replace(TAU, low=None), replace(TAU, value=None), replace(TAU, high=None)],
    ids=["low", "value", "high"],
)
def test_what_is_undefined_has_no_strength(tau: Correlation) -> None:
    assert strength(tau) == "undefined"
