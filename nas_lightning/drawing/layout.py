"""Where everything in the drawing of a cell goes: a layered layout, left to right, in inches.

Columns alternate: states (by the longest path from the inputs), then the labels of the edges
between them. An edge owns a lane in every column that it passes, lanes and boxes of a column are
kept apart, and curves bend only between columns, all with the same shape. So a curve never meets
a box that is not its own, and two curves meet only where their order has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from nas_lightning.architecture import CellGenotype, state_name
from nas_lightning.drawing.columns import PORT, Columns, Item, order, place, straighten

LABEL_POINTS = 8.0
ARROW = 0.1  # length of an arrow head
CHARACTER = 0.6 * LABEL_POINTS / 72  # the mean advance of DejaVu Sans, rounded up
LABEL_HEIGHT = 0.2
NODE = 0.36
OUTER = 0.62  # width of the cell's inputs and its output
MARGIN = 0.12

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle around the centre `(x, y)`."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two have an inner point in common."""
        return (
            2 * abs(self.x - other.x) < self.width + other.width
            and 2 * abs(self.y - other.y) < self.height + other.height
        )


@dataclass(frozen=True)
class Curve:
    """An edge of the cell as it is drawn.

    Attributes:
        source: State that it leaves.
        target: State that it enters; the output is the state after the last node.
        points: Control points of a chain of cubic Béziers: the first point, then three a segment.
        primitive: The operation; None for a connector to the output.
        label: Where the operation's name goes; None for a connector.
    """

    source: int
    target: int
    points: tuple[Point, ...]
    primitive: str | None
    label: Box | None


@dataclass(frozen=True)
class CellLayout:
    """A drawing area of `width` by `height` inches, y upwards, and what stands in it.

    Attributes:
        nodes: Box of every state, by state; the last is the output.
        curves: Edges in the order of the genotype, then the connectors to the output.
        inputs: How many of the states are inputs of the cell.
    """

    width: float
    height: float
    nodes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    inputs: int


def short_name(primitive: str) -> str:
    """Name of an operation as a drawing shows it, such as `sep conv 3×3`."""
    name = re.sub(r"(?<=\d)x(?=\d)", "×", primitive.rpartition(".")[2])  # of an import path
    # a normal convolution, in the words of NAS-Bench-201
    return name.removesuffix("_connect").removeprefix("nor_").replace("_", " ")


def layout(cell: CellGenotype) -> CellLayout:
    """Place a cell's states, edges and labels. The same cell always gives the same layout."""
    output = cell.inputs + len(cell.nodes)
    edges = [
        (edge.source, target, edge.primitive)
        for target, node in enumerate(cell.nodes, start=cell.inputs)
        for edge in node
    ]
    ends: list[tuple[int, int, str | None]] = [*edges]
    ends += [(source, output, None) for source in cell.concat]
    depth = _depths(cell)
    rank = [min(2 * d, 2 * depth[output] - 1) for d in depth]  # no labels before the output
    columns: Columns = [[] for _ in range(rank[output] + 1)]
    outer = (*range(cell.inputs), output)
    states = [Item("node", OUTER if s in outer else NODE) for s in range(output + 1)]
    for state, column in zip(states, rank, strict=True):
        columns[column].append(state)
    gaps = _label_gaps([(depth[s], depth[t]) for s, t, _ in edges], depth[output])
    chains: list[list[Item]] = []
    for i, (source, target, primitive) in enumerate(ends):
        lanes = []
        for index in range(rank[source] + 1, rank[target]):
            if primitive is not None and index == 2 * gaps[i] + 1:
                width = CHARACTER * len(short_name(primitive)) + 0.12
                lane = Item("label", width, LABEL_HEIGHT)
            else:
                lane = Item("lane", strength=0.3 if primitive is None else 1.0)
            columns[index].append(lane)
            lanes.append(lane)
        chain = [states[source], *lanes, states[target]]
        for a, b in pairwise(chain):
            a.right.append(b)
            b.left.append(a)
        chains.append(chain)
    for state in states:
        state.height = max(NODE, PORT * max(len(state.left), len(state.right)) + 0.08)
    order(columns)
    place(columns)
    for chain in chains:
        straighten(columns, chain[1:-1])
    return _trace(columns, states, ends, chains, cell.inputs)


def _depths(cell: CellGenotype) -> list[int]:
    """Longest path from the inputs to each state, the output last; 1 for a node without edges."""
    depth = [0] * cell.inputs
    for node in cell.nodes:
        depth.append(1 + max((depth[edge.source] for edge in node), default=0))
    return [*depth, 1 + max(depth)]


def _label_gaps(spans: list[tuple[int, int]], layers: int) -> list[int]:
    """The gap between layers that each edge is labelled in: near its end, unless crowded."""
    load = [0.0] * layers
    gaps = [0] * len(spans)
    for i in sorted(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0]):
        first, last = spans[i]
        gaps[i] = min(range(last - 1, first - 1, -1), key=lambda g: load[g] + 0.5 * (last - g))
        load[gaps[i]] += 1
    return gaps


def _trace(
    columns: Columns,
    states: list[Item],
    ends: list[tuple[int, int, str | None]],
    chains: list[list[Item]],
    inputs: int,
) -> CellLayout:
    """Give the columns their x positions and draw the curves through them."""
    left: dict[Item, float] = {}
    right: dict[Item, float] = {}
    x = MARGIN
    for i, column in enumerate(columns):
        if i:
            x += _bend(columns[i - 1])
        end = x + max((item.width for item in column), default=0.0)
        end += ARROW if 0 < i < len(columns) - 1 and i % 2 == 0 else 0.0
        for item in column:
            left[item], right[item] = x, end
        x = end
    items = [item for column in columns for item in column]
    top = min(item.y - item.height / 2 for item in items) - MARGIN
    height = max(item.y + item.height / 2 for item in items) + MARGIN - top

    def box(item: Item) -> Box:
        # a head stands before the box of a state; labels are centred in their column
        middle = (left[item] + right[item]) / 2
        if item.kind == "node":
            middle = right[item] - item.width / 2
        return Box(middle, height - (item.y - top), item.width, item.height)

    def points(chain: list[Item]) -> Iterator[Point]:
        a = chain[0]
        y = a.y + a.port(a.right, chain[1])
        x = right[a]
        yield x, height - (y - top)
        for before, item in pairwise(chain):
            after = item.y + item.port(item.left, before)
            middle, y0, y1 = (x + left[item]) / 2, height - (y - top), height - (after - top)
            yield from ((middle, y0), (middle, y1), (left[item], y1))
            x = right[item] - item.width if item.kind == "node" else right[item]
            third = (x - left[item]) / 3
            yield from ((left[item] + third, y1), (x - third, y1), (x, y1))
            y = after

    curves = []
    for (source, target, primitive), chain in zip(ends, chains, strict=True):
        labels = [box(item) for item in chain if item.kind == "label"]
        label = labels[0] if labels else None
        curves.append(Curve(source, target, tuple(points(chain)), primitive, label))
    nodes = tuple(box(state) for state in states)
    return CellLayout(x + MARGIN, height, nodes, tuple(curves), inputs)


def _bend(column: list[Item]) -> float:
    """Width of the bends after a column: wider where an edge climbs more."""
    climbs = (abs(item.y - other.y) for item in column for other in item.right)
    return min(0.7, 0.22 + 0.22 * max(climbs, default=0.0))


def state_label(state: int, states: int, inputs: int) -> str:
    """Text of a state in a drawing with so many states; mathtext where it has dollar signs."""
    if state == states - 1:
        # papers write c_k for the next after c_{k-1}, h_t for recurrent cells
        return "out" if inputs == 1 else "$c_{k}$"
    name = state_name(state, inputs)
    return f"${name}$" if name.startswith("c_") else name
