"""Layout of the drawing of a cell: layered, from left to right, in inches.

Columns alternate between states (by the longest path from the inputs) and the labels of the edges
between them. An edge has a dummy item in every column that it crosses. Items of a column are kept
apart, and curves bend only between columns, all with the same shape. So a curve never meets the box
of something else, and two curves meet only where their order has to change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from nas_lightning.architecture import CellGenotype, state_name
from nas_lightning.drawing.columns import PORT, Columns, Item, order, place, straighten
from nas_lightning.drawing.shapes import CHARACTER, Box

ARROW = 0.1  # length of an arrow head
LABEL_HEIGHT = 0.2
NODE = 0.36
OUTER = 0.62  # width of the cell's inputs and its output
MARGIN = 0.12

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """The curve that draws an edge of the cell.

    Attributes:
        source: State that the edge leaves.
        target: State that the edge enters; the output is the state after the last node.
        points: Control points of a chain of cubic Bézier curves: the first point, then three for
            each curve.
        primitive: The operation; `None` for a connector to the output.
        label: Box of the operation's name; `None` for a connector.
    """

    source: int
    target: int
    points: tuple[Point, ...]
    primitive: str | None
    label: Box | None


@dataclass(frozen=True)
class CellLayout:
    """A drawing area of `width` by `height` inches and its contents; y grows upwards.

    Attributes:
        width: Width in inches.
        height: Height in inches.
        nodes: Boxes of the states, in order; the last one is the output.
        curves: Edges in the order of the genotype, then the connectors to the output.
        inputs: Number of input states of the cell.
    """

    width: float
    height: float
    nodes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    inputs: int


def short_name(primitive: str) -> str:
    """Return the name of an operation for drawings, such as `sep conv 3×3`."""
    name = primitive.rpartition(".")[2]  # of an import path
    name = re.sub(r"(?<=\d)x(?=\d)", "×", name)
    # `nor_conv` is NAS-Bench-201's name of an ordinary convolution
    return name.removesuffix("_connect").removeprefix("nor_").replace("_", " ")


def layout(cell: CellGenotype) -> CellLayout:
    """Lay out a cell's states, edges and labels; equal cells always have equal layouts."""
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
        between = []
        for index in range(rank[source] + 1, rank[target]):
            if primitive is not None and index == 2 * gaps[i] + 1:
                width = CHARACTER * len(short_name(primitive)) + 0.12
                item = Item("label", width, LABEL_HEIGHT)
            else:
                item = Item("dummy", strength=0.3 if primitive is None else 1.0)
            columns[index].append(item)
            between.append(item)
        chain = [states[source], *between, states[target]]
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
    """Return the longest path from the inputs to each state, the output last.

    A node without edges has depth 1.
    """
    depth = [0] * cell.inputs
    for node in cell.nodes:
        depth.append(1 + max((depth[edge.source] for edge in node), default=0))
    return [*depth, 1 + max(depth)]


def _label_gaps(spans: list[tuple[int, int]], layers: int) -> list[int]:
    """Choose the gap between layers for the label of each edge: near its end, unless crowded."""
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
    """Set the x positions of the columns and make the curves through them."""
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
        # the arrow head is left of a state's box; labels are centred in their column
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
    """Return the width of the bends after a column: the more an edge climbs, the wider."""
    climbs = (abs(item.y - other.y) for item in column for other in item.right)
    return min(0.7, 0.22 + 0.22 * max(climbs, default=0.0))


def state_label(state: int, states: int, inputs: int) -> str:
    """Return the text of a state in a drawing; text between dollar signs is mathtext.

    Args:
        state: The state.
        states: Number of states in the drawing, with the output.
        inputs: Number of input states.
    """
    if state == states - 1:
        # papers write c_k after c_{k-1} and c_{k-2}; recurrent cells have one input
        return "out" if inputs == 1 else "$c_{k}$"
    name = state_name(state, inputs)
    return f"${name}$" if name.startswith("c_") else name
