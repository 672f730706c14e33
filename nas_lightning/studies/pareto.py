"""Fronts of networks that cost little and score high, and the area below them."""

from __future__ import annotations

from collections.abc import Iterable

Point = tuple[float, float]
"""Cost and score of a network."""


def front(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one beats, by ascending cost.

    A point is beaten by one that costs no more and scores no less, and differs.
    """
    kept: list[Point] = []
    for cost, score in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not kept or score > kept[-1][1]:
            kept.append((cost, score))
    return kept


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """Return the area that the points dominate: of all (cost, score) that one of them beats.

    Args:
        points: Cost and score of each network.
        reference: Largest cost and lowest score that count.
    """
    limit, lowest = reference
    area = 0.0
    steps = [(cost, score) for cost, score in front(points) if cost < limit and score > lowest]
    for index, (cost, score) in enumerate(steps):
        end = steps[index + 1][0] if index + 1 < len(steps) else limit
        area += (end - cost) * (score - lowest)
    return area
