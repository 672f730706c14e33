"""Every pair of strategies trains or is refused by a line with both names; the page says which."""

from pathlib import Path

import pytest

from tests.contract.composition import NAMES, PAGE, PAIRS, composed, page, train
from tests.methods import rest_long

SAMPLE = [
    ("A2M", "BetaDecay"),
    ("AmendedGradient", "SNAS"),
    ("BinaryGates", "KeepOperations"),
    ("EdgeNormalization", "GDAS"),
    ("ExponentiatedGradient", "Neumann"),
    ("RobustDARTS", "TwoStage"),
]
"""Pairs that `make test` trains."""


@pytest.mark.parametrize("pair", rest_long(PAIRS, keep=SAMPLE), ids="+".join)
def test_a_pair_trains_or_is_refused_with_both_names(pair: tuple[str, str], tmp_path: Path) -> None:
    found = composed(*pair)
    if found.order:
        train(found.order, tmp_path)
    else:
        assert pair[0] in found.refusal
        assert pair[1] in found.refusal
        assert "\n" not in found.refusal


def test_the_page_says_what_is_built() -> None:
    assert PAGE.read_text() == page()  # python -m tests.contract.composition writes it


def test_a_sample_is_of_all_pairs() -> None:
    assert set(SAMPLE) <= set(PAIRS)
    assert len(PAIRS) == len(NAMES) * (len(NAMES) - 1) // 2
