"""Fronts and areas, against their definitions, point by point and cell by cell."""

import random

import pytest

from nas_lightning.studies.pareto import Point, front, hypervolume


def beaten(point: Point, by: Point) -> bool:
    return by != point and by[0] <= point[0] and by[1] >= point[1]


@pytest.mark.parametrize("seed", range(20))
def test_the_front_and_the_area_on_a_grid(seed: int) -> None:
    """With whole numbers the area is the number of unit squares that some point dominates."""
    draw = random.Random(seed)
    points = [(draw.randrange(12), draw.randrange(12)) for _ in range(draw.randrange(1, 12))]
    expected = {p for p in points if not any(beaten(p, other) for other in points)}
    found = front(points)
    assert set(found) == expected
    assert found == sorted(found)
    limit, lowest = 10, 2
    squares = [
        (x, y)
        for x in range(limit)
        for y in range(lowest, 12)
        if any(cost <= x and score >= y + 1 for cost, score in points)
    ]
    assert hypervolume(points, (limit, lowest)) == len(squares)


def test_nothing_dominates_nothing() -> None:
    assert front([]) == []
    assert hypervolume([], (1, 0)) == 0
    assert hypervolume([(2, 5), (0, -1)], (1, 0)) == 0
