"""Two methods on the same seeds: against full enumeration, closed forms and simulations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_lightning.studies.comparison import compare, holm, power, runs_needed

DIFFERENCES = st.lists(st.integers(-20, 20), min_size=1, max_size=8)


def pairs(differences: list[float]) -> list[tuple[float, float]]:
    return [(90 + difference, 90.0) for difference in differences]


@given(DIFFERENCES)
@settings(max_examples=60, deadline=None)
def test_p_against_all_signs(differences: list[int]) -> None:
    found = compare("a", "b", pairs([float(x) for x in differences]))
    extreme = [
        abs(sum(sign * x for sign, x in zip(signs, differences, strict=True)))
        >= abs(sum(differences))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    assert found.p == pytest.approx(sum(extreme) / len(extreme))
    assert found.test == "exact sign-flip permutation test"
    assert found.difference == pytest.approx(sum(differences) / len(differences))


def test_values_by_hand() -> None:
    found = compare("a", "b", pairs([1.0, 2.0, 3.0, 2.0]))
    assert (found.first, found.second, found.n) == ("a", "b", 4)
    assert found.difference == pytest.approx(2)
    assert found.effect == pytest.approx(2 / math.sqrt(2 / 3))
    assert found.p == pytest.approx(2 / 16)
    assert found.low is not None
    assert found.high is not None
    assert 1 <= found.low < 2 < found.high <= 3
    assert found.note == "with 4 pairs p cannot be below 0.125"
    mirrored = compare("b", "a", [(b, a) for a, b in pairs([1.0, 2.0, 3.0, 2.0])])
    assert mirrored.difference == -2
    assert mirrored.p == found.p
    assert mirrored.runs_needed == found.runs_needed


def test_many_pairs_go_to_wilcoxon() -> None:
    differences = [0.1 * (i + 1) * (-1 if i % 5 == 0 else 1) for i in range(20)]
    found = compare("a", "b", pairs(differences))
    assert found.test == "Wilcoxon signed-rank test"
    # without ties: exact, by counting the subsets of the ranks 1 to 20 with each sum
    ways = np.zeros(211)
    ways[0] = 1
    for rank in range(1, 21):
        ways[rank:] = ways[rank:] + ways[:-rank]
    below = sum(i + 1 for i in range(20) if i % 5 == 0)
    assert found.p == pytest.approx(2 * ways[: below + 1].sum() / 2**20)
    assert compare("a", "b", pairs([0.0] * 20)).p == 1


@pytest.mark.parametrize(
    ("differences", "note"),
    [
        ([], "no pairs"),
        ([1.0], "the interval needs 3 runs"),
        ([1.0, 1.0, 1.0], "the effect needs differences that differ"),
        ([0.0, 0.0, 0.0], "the effect needs differences that differ"),
        ([math.nan, 1.0, 2.0, 4.0], "1 pairs are not finite"),
        ([1.0, -1.0, 1.0, -1.0], "needs more than 100,000 pairs"),
    ],
)
def test_missing_values_have_a_reason(differences: list[float], note: str) -> None:
    found = compare("a", "b", pairs(differences))
    assert found.note is not None
    assert note in found.note
    values = (found.difference, found.low, found.high, found.p, found.effect)
    assert all(math.isfinite(value) for value in values if value is not None)


def test_a_test_of_no_difference_is_rarely_wrong() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 8))
    found = [compare("a", "b", pairs(row.tolist())).p for row in noise]
    wrong = np.mean([p is not None and p <= 0.05 for p in found])
    assert 0.015 <= wrong <= 0.09


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
def test_runs_needed_against_a_simulation(effect: float) -> None:
    n = runs_needed(effect)
    assert n is not None
    generator = np.random.default_rng(0)

    def found(number: int) -> float:
        data = generator.normal(effect, 1.0, size=(40_000, number))
        t = np.abs(data.mean(1)) / (data.std(1, ddof=1) / math.sqrt(number))
        # the 97.5 % quantile, by a simulation of its own
        null = generator.normal(size=(400_000, number))
        t0 = np.abs(null.mean(1)) / (null.std(1, ddof=1) / math.sqrt(number))
        return float(np.mean(t > np.quantile(t0, 0.95)))

    assert found(n) == pytest.approx(power(effect, n), abs=0.02)
    assert found(n) > 0.79
    assert found(n - 1) < 0.81


def test_published_numbers_of_runs() -> None:
    # Cohen, 1988: 34 pairs for d = 0.5, 15 for 0.8, 199 for 0.2
    assert [runs_needed(d) for d in (0.2, 0.5, 0.8, -0.8)] == [199, 34, 15, 15]
    assert runs_needed(0.0) is None
    assert runs_needed(100.0) == 2


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_procedure_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    rejected: set[int] = set()
    for i in sorted(range(len(p_values)), key=lambda i: p_values[i]):
        if p_values[i] * (len(p_values) - len(rejected)) > 0.05:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
