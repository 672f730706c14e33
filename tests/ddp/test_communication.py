"""What a step sends: no more than its estimator needs; the page shows what is measured."""

from collections import Counter
from pathlib import Path

import pytest

from tests.ddp.conftest import Pair

pytestmark = [pytest.mark.ddp, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"
FIRST_ORDER = ("DARTS, first order", "PC-DARTS", "FairDARTS", "SNAS", "GDAS")
# by hand: d outer by α and w, then a product with H and one with B for each they take
IMPLICIT = {
    "DARTS, second order": Counter({"W": 1, "(A + W)": 1, "A": 2}),
    "amended": Counter({"(A + W)": 1, "W": 2, "A": 2}),
    "amended, exact": Counter({"(A + W)": 1, "W": 1, "A": 1}),
    "Neumann, K = 1": Counter({"(A + W)": 1, "W": 2, "A": 2}),
}


def named(sent: Counter[int], names: dict[int, str]) -> Counter[str]:
    """The same by the names of the sizes, without the loss that is checked."""
    found = Counter({names[size]: count for size, count in sent.items()})
    assert found.pop("1") == 1
    return found


def test_first_order_methods_send_alpha_and_beta_alone(pair: Pair) -> None:
    for found in pair:
        for method in FIRST_ORDER:
            sent = found["communication"]["methods"][method]
            assert named(sent["arch"], sent["names"]) == {"A": 1}, method


def test_other_estimators_send_the_vectors_that_they_need(pair: Pair) -> None:
    for method, expected in IMPLICIT.items():
        sent = pair[0]["communication"]["methods"][method]
        assert named(sent["arch"], sent["names"]) == expected, method
    sent = pair[0]["communication"]["methods"]["RobustDARTS, where λ is due"]
    (entries,) = (size for size, name in sent["names"].items() if name == "A")
    assert named(sent["arch"], sent["names"]) == {"A": 1 + entries}  # all of them are α


def test_weight_gradients_are_sent_once(pair: Pair) -> None:
    for method, sent in pair[0]["communication"]["methods"].items():
        # which weights have one is sent where some have none
        more = {"P": 1} if method == "GDAS" else {}
        assert named(sent["weights"], sent["names"]) == {"W": 1} | more, method


def test_the_page_shows_what_is_measured(pair: Pair) -> None:
    assert pair[0]["communication"]["table"] in PAGE.read_text(encoding="utf-8")
