"""Positions in the columns of a layered drawing: first few crossings, then straight edges.

Here y grows downwards, in inches, and the items of a column are sorted by y. An edge that crosses a
column has a dummy item in it, which keeps other items away (Sugiyama et al., 1981).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf

PORT = 0.13  # distance of two edges where they touch a node
CLEARANCE = {"node": 0.13, "label": 0.035, "dummy": 0.06}
STARTS = 24  # initial orders from which `order` reduces crossings
SWEEPS = 120  # passes of `place` over the columns


@dataclass(eq=False)
class Item:
    """An item that takes up height in a column.

    Its kind is `node` for a state, `label` for the name of an operation, or `dummy` for an edge
    that crosses the column.
    """

    kind: str
    width: float = 0.0
    height: float = 0.0
    strength: float = 1.0  # weight of its crossings and bends
    left: list[Item] = field(default_factory=list)
    right: list[Item] = field(default_factory=list)
    position: int = 0
    y: float = 0.0
    pulls: list[tuple[Item, float, float]] = field(default_factory=list)

    def port(self, side: list[Item], neighbour: Item) -> float:
        """Return how far below the centre the edge to a neighbour touches the item."""
        if self.kind != "node":
            return 0.0
        rank = sum(other.position < neighbour.position for other in side)
        return PORT * (rank - (len(side) - 1) / 2)


Columns = list[list[Item]]


def order(columns: Columns) -> None:
    """Sort every column so that few edges cross: by barycentres, then by swaps of neighbours.

    Of two mirrored orders, which are equally good, the one is chosen that keeps the first item of
    the first column above the last.
    """
    generator = random.Random(0)
    best, fewest = [list(column) for column in columns], inf
    first, last = columns[0][0], columns[0][-1]
    for start in range(STARTS):
        for column in columns if start else []:
            generator.shuffle(column)
        for column in columns:
            _number(column)
        for sweep in range(8):
            for column in columns[1:] if sweep % 2 == 0 else columns[-2::-1]:
                column.sort(key=_before if sweep % 2 == 0 else _after)
                _number(column)
        while sum(_swap(column) for column in columns):
            pass
        crossings = sum(
            _crossings(a, b) for c in columns for i, a in enumerate(c) for b in c[i + 1 :]
        )
        if crossings < fewest - 1e-9:
            best, fewest = [list(column) for column in columns], crossings
    for column, items in zip(columns, best, strict=True):
        column[:] = items[::-1] if best[0].index(first) > best[0].index(last) else items
        _number(column)


def _number(column: list[Item]) -> None:
    for i, item in enumerate(column):
        item.position = i


def _before(item: Item) -> float:
    return _barycentre(item, item.left)


def _after(item: Item) -> float:
    return _barycentre(item, item.right)


def _barycentre(item: Item, others: list[Item]) -> float:
    return sum(o.position for o in others) / len(others) if others else item.position


def _crossings(a: Item, b: Item) -> float:
    """Sum the weighted crossings between the edges of two items of a column, `a` above `b`."""
    return sum(
        min(a.strength, p.strength) * min(b.strength, q.strength)
        for ends, others in ((a.left, b.left), (a.right, b.right))
        for p in ends
        for q in others
        if p.position > q.position
    )


def _swap(column: list[Item]) -> bool:
    """Swap neighbours where that removes crossings; return True if any were swapped."""
    swapped = False
    for i in range(len(column) - 1):
        a, b = column[i], column[i + 1]
        if _crossings(b, a) < _crossings(a, b) - 1e-9:
            column[i], column[i + 1] = b, a
            a.position, b.position, swapped = i + 1, i, True
    return swapped


def place(columns: Columns) -> None:
    """Set y so that edges are as straight as the distances within each column allow."""
    for column in columns:
        for item in column:
            ends = [(n, n.port(n.right, item) - item.port(item.left, n)) for n in item.left]
            ends += [(n, n.port(n.left, item) - item.port(item.right, n)) for n in item.right]
            for neighbour, shift in ends:
                straight = item.kind != "node" and neighbour.kind != "node"
                weight = min(item.strength, neighbour.strength) * (16.0 if straight else 1.0)
                item.pulls.append((neighbour, shift, weight))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            _settle(column)


def _settle(column: list[Item]) -> None:
    """Move the items of a column to the weighted means of their neighbours.

    This is isotonic regression by pooling adjacent violators.
    """
    offset = 0.0
    blocks: list[tuple[float, float, list[tuple[Item, float]]]] = []
    previous: Item | None = None
    for item in column:
        if previous is not None:
            offset += _distance(previous, item)
        # a weak pull to y = 0 fixes items without other pulls
        weight = 0.02 + sum(w for _, _, w in item.pulls)
        mean = sum(w * (other.y + shift) for other, shift, w in item.pulls) / weight - offset
        members = [(item, offset)]
        while blocks and blocks[-1][0] >= mean:
            mean_before, weight_before, members_before = blocks.pop()
            total = weight + weight_before
            mean = (mean * weight + mean_before * weight_before) / total
            weight, members = total, members_before + members
        blocks.append((mean, weight, members))
        previous = item
    for mean, _, members in blocks:
        for item, shift in members:
            item.y = mean + shift


def _distance(a: Item, b: Item) -> float:
    """Return the least distance between the centres of two neighbours in a column."""
    return (a.height + b.height) / 2 + CLEARANCE[a.kind] + CLEARANCE[b.kind]


def straighten(columns: Columns, chain: list[Item]) -> None:
    """Move an edge so that it has as few level pieces as the room between its neighbours allows.

    Args:
        columns: All columns.
        chain: The dummies and the label of the edge, from left to right.
    """
    if len(chain) < 2:  # labels of short edges stay evenly spaced
        return
    run: list[Item] = []
    low, high = -inf, inf
    for item in [*chain, None]:
        if item is not None:
            column = next(c for c in columns if item in c)
            i = item.position
            above = column[i - 1].y + _distance(column[i - 1], item) if i else -inf
            below = inf
            if i + 1 < len(column):
                below = column[i + 1].y - _distance(item, column[i + 1])
            if max(low, above) <= min(high, below) + 1e-6:  # allow for rounding
                run.append(item)
                low, high = max(low, above), min(high, below)
                continue
        level = min(max(sum(member.y for member in run) / len(run), low), high)
        for member in run:
            member.y = level
        if item is not None:
            run, low, high = [item], above, below
