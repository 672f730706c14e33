from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nas_lightning.data import split_indices

fractions = st.floats(0, 1)
seeds = st.integers(0, 1000)


@given(st.lists(st.integers(0, 5), max_size=60), fractions, seeds)
def test_parts_are_sorted_disjoint_complete_and_stratified(
    labels: list[int], fraction: float, seed: int
) -> None:
    first, second = split_indices(labels, fraction, seed)
    assert first == sorted(first)
    assert second == sorted(second)
    assert sorted(first + second) == list(range(len(labels)))
    assert len(second) == round(fraction * len(labels))
    chosen = Counter(labels[i] for i in second)
    for label, size in Counter(labels).items():
        assert abs(chosen[label] - fraction * size) < 1 + 1e-9
    assert split_indices(labels, fraction, seed) == (first, second)


@given(st.integers(0, 60), fractions, seeds)
def test_size_alone(size: int, fraction: float, seed: int) -> None:
    first, second = split_indices(size, fraction, seed)
    assert sorted(first + second) == list(range(size))
    assert len(second) == round(fraction * size)


def test_other_seed_other_split() -> None:
    splits = {tuple(split_indices([0, 1] * 50, 0.5, seed)[1]) for seed in range(5)}
    assert len(splits) == 5


def test_every_sample_can_be_chosen() -> None:
    # a bug that always takes the head of a class would leave some out
    chosen = Counter(i for seed in range(200) for i in split_indices([0, 1] * 5, 0.4, seed)[1])
    assert set(chosen) == set(range(10))
    assert all(40 < n < 120 for n in chosen.values())  # 80 expected, deviation 7


def test_the_largest_remainders_are_rounded_up() -> None:
    # shares of 2.7, 1.2 and 2.1: six in all, so one class is rounded up, the first
    labels = [0] * 9 + [1] * 4 + [2] * 7
    second = split_indices(labels, 0.3, seed=0)[1]
    assert Counter(labels[i] for i in second) == {0: 3, 1: 1, 2: 2}
