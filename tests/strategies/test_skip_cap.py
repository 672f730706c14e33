"""The cap on skip connections, against a worked example and another implementation."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.search import DISCRETIZER, SearchModule, SearchPlan, strongest_edges
from nas_lightning.spaces import DartsSpace, NasBench201Space
from nas_lightning.spaces.darts.space import DARTS_PRIMITIVES
from nas_lightning.strategies import FairDARTS, LaterEdges, SkipCap
from nas_lightning.strategies.later_edges import later_edges
from nas_lightning.strategies.skip_cap import fewer_skips, recorded
from nas_lightning.supernet import Mixing
from tests.conftest import SearchFactory

SPACE = DartsSpace()
NONE, SKIP, SEP, DIL = (
    DARTS_PRIMITIVES.index(name)
    for name in ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
)
Cell = list[list[tuple[str, int]]]


def mixing(normal: Tensor, space: DartsSpace = SPACE) -> Mixing:
    """Mixing weights with random ones of the reduction cells."""
    generator = torch.Generator().manual_seed(5)
    reduce = torch.rand(normal.shape, generator=generator, dtype=normal.dtype)
    edges = torch.ones(len(normal), dtype=normal.dtype)
    return Mixing({"normal": normal, "reduce": reduce}, {"normal": edges, "reduce": edges})


def cell(genotype: Genotype, kind: str = "normal") -> Cell:
    return [[(i.primitive, i.source) for i in node] for node in genotype.cells[kind].nodes]


def capped(weights: Mixing, most: int, *others: LaterEdges) -> Genotype:
    plan = SearchPlan(SPACE, [*others, SkipCap(most)])
    return plan[DISCRETIZER](SPACE, weights)


# -- a worked example ------------------------------------------------------------------------------


def rows(*weights: dict[int, float]) -> Tensor:
    """Weights of 14 edges; those that are not given are equal and small."""
    table = torch.full((14, 8), 0.01)
    for row, given in zip(table, weights, strict=True):
        for column, weight in given.items():
            row[column] = weight
    return table


WORKED = rows(
    {SKIP: 0.5, SEP: 0.3}, {SEP: 0.6},  # node 2 keeps both edges
    {SKIP: 0.4, DIL: 0.1}, {SKIP: 0.7}, {SEP: 0.2},  # node 3: two skips, and a weaker convolution
    {SKIP: 0.55}, {SEP: 0.5}, {SEP: 0.45}, {NONE: 0.9, SEP: 0.44},  # `none` counts as zero
    {SEP: 0.6}, {SEP: 0.6}, {DIL: 0.6}, {SKIP: 0.2}, {SKIP: 0.1},  # equal ones: the later edges
)  # fmt: skip


def test_the_steps_of_a_worked_example() -> None:
    steps = list(fewer_skips(later_edges, SPACE, mixing(WORKED), "normal", 0))
    assert [cell(step) for step in steps] == [
        [
            [("skip_connect", 0), ("sep_conv_3x3", 1)],
            [("skip_connect", 0), ("skip_connect", 1)],
            [("skip_connect", 0), ("sep_conv_3x3", 1)],
            [("sep_conv_3x3", 1), ("dil_conv_3x3", 2)],
        ],
        [  # 0.4 on edge 0-3 was the smallest kept skip: another edge of the node is stronger
            [("skip_connect", 0), ("sep_conv_3x3", 1)],
            [("skip_connect", 1), ("sep_conv_3x3", 2)],
            [("skip_connect", 0), ("sep_conv_3x3", 1)],
            [("sep_conv_3x3", 1), ("dil_conv_3x3", 2)],
        ],
        [  # 0.5 on edge 0-2: another operation of the edge takes over
            [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)],
            [("skip_connect", 1), ("sep_conv_3x3", 2)],
            [("skip_connect", 0), ("sep_conv_3x3", 1)],
            [("sep_conv_3x3", 1), ("dil_conv_3x3", 2)],
        ],
        [  # 0.55 on edge 0-4
            [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)],
            [("skip_connect", 1), ("sep_conv_3x3", 2)],
            [("sep_conv_3x3", 1), ("sep_conv_3x3", 2)],
            [("sep_conv_3x3", 1), ("dil_conv_3x3", 2)],
        ],
        [  # 0.7 on edge 1-3, whose weight stays zero: 0-3 comes back by its dilated convolution
            [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)],
            [("dil_conv_3x3", 0), ("sep_conv_3x3", 2)],
            [("sep_conv_3x3", 1), ("sep_conv_3x3", 2)],
            [("sep_conv_3x3", 1), ("dil_conv_3x3", 2)],
        ],
    ]
    for most in range(9):
        found = capped(mixing(WORKED), most, LaterEdges())
        assert found.skips("normal") == min(most, 4)
        assert cell(found) == cell(steps[max(0, 4 - most)])
        assert cell(found, "reduce") == cell(steps[0], "reduce")


# -- against another implementation ----------------------------------------------------------------


class Released:
    """The procedure of the released code, in its own terms: compressed rows of three candidates.

    Args:
        weights: Weights of three candidates on each of 14 edges.
        sets: Their operations, sorted.
    """

    def __init__(self, weights: list[list[float]], sets: list[list[int]]) -> None:
        self.table = [list(row) for row in weights]
        self.sets = sets
        for row, operations in zip(self.table, sets, strict=True):
            if NONE in operations:
                row[operations.index(NONE)] = 0.0

    def cells(self) -> list[Cell]:
        """The cell under each cap from 8 down to 0."""
        switches, found = self.on_two_branches(), []
        for cap in range(8, -1, -1):
            while list(switches.values()).count(SKIP) > cap:
                skips = [edge for edge, operation in switches.items() if operation == SKIP]
                smallest = min(skips, key=self.weight_of_skip)
                self.table[smallest][self.sets[smallest].index(SKIP)] = 0.0
                switches = self.on_two_branches()
            found.append(as_cell(switches))
        return found

    def weight_of_skip(self, edge: int) -> float:
        return self.table[edge][self.sets[edge].index(SKIP)]

    def drop_two(self, edge: int) -> int:
        """Drop `none`, whatever its weight, then the first of the smallest; one is left."""
        left = [m for m in range(3) if self.sets[edge][m] != NONE]
        while len(left) > 1:
            left.remove(min(left, key=self.table[edge].__getitem__))
        return self.sets[edge][left[0]]

    def on_two_branches(self) -> dict[int, int]:
        """Operations of the edges that are kept: two of each node, the last of a sorted list."""
        best = [max(row) for row in self.table]
        kept = [0, 1]
        for start, width in ((2, 3), (5, 4), (9, 5)):
            kept += sorted(range(start, start + width), key=best.__getitem__)[-2:]
        return {edge: self.drop_two(edge) for edge in sorted(kept)}


def as_cell(switches: dict[int, int]) -> Cell:
    nodes = ((0, 2), (2, 5), (5, 9), (9, 14))
    return [
        [
            (DARTS_PRIMITIVES[op], edge - start)
            for edge, op in switches.items()
            if start <= edge < end
        ]
        for start, end in nodes
    ]


@pytest.mark.parametrize("ties", [False, True])
def test_it_does_what_the_released_code_does(ties: bool) -> None:
    draw = random.Random(3)
    most = 0
    for _ in range(80):
        others = [m for m in range(8) if m != SKIP]
        # most edges have a skip connection, with a large weight
        sets = [sorted([SKIP, *draw.sample(others, 2)]) for _ in range(12)]
        sets += [sorted(draw.sample(range(8), 3)) for _ in range(2)]
        draw.shuffle(sets)
        weights = []
        for operations in sets:
            alpha = torch.tensor([draw.gauss(0, 1) + 2 * (m == SKIP) for m in operations])
            weights.append(alpha.double().softmax(0).tolist())
        if ties:  # as if they were rounded
            weights = [[max(round(4 * w), 1) / 4 for w in row] for row in weights]
        table = torch.zeros(14, 8, dtype=torch.float64)
        for edge, operations in enumerate(sets):
            table[edge, operations] = torch.tensor(weights[edge], dtype=torch.float64)
        expected = Released(weights, sets).cells()
        found = [cell(capped(mixing(table), cap, LaterEdges())) for cap in range(8, -1, -1)]
        assert found == expected
        most = max(most, sum(name == "skip_connect" for node in found[0] for name, _ in node))
    assert most >= 7


# -- with other rules and spaces -------------------------------------------------------------------


def test_without_a_limit_nothing_changes() -> None:
    for discretizer, others in ((strongest_edges, []), (later_edges, [LaterEdges()])):
        assert capped(mixing(WORKED), 8, *others) == discretizer(SPACE, mixing(WORKED))


def test_edge_weights_count() -> None:
    """The skip of smallest operation times edge weight goes first."""
    edges = torch.ones(14)
    edges[3] = 0.5  # 0.7 · 0.5 is below 0.4
    weights = replace(mixing(WORKED), edges={"normal": edges, "reduce": torch.ones(14)})
    assert cell(capped(weights, 3, LaterEdges()))[1] == [("skip_connect", 0), ("sep_conv_3x3", 2)]


def test_in_nas_bench_201_another_operation_of_the_edge_takes_over() -> None:
    space = NasBench201Space()
    names = space.cells[0].primitives
    table = torch.full((6, 5), 0.1)
    table[:, names.index("skip_connect")] = torch.tensor([0.5, 0.9, 0.6, 0.8, 0.2, 0.7])
    table[:, names.index("nor_conv_3x3")] = 0.15
    weights = Mixing({"cell": table}, {"cell": torch.ones(6)})
    plan = SearchPlan(space, [SkipCap(2)])
    found = [
        i.primitive for node in plan[DISCRETIZER](space, weights).cells["cell"].nodes for i in node
    ]
    kept = [name == "skip_connect" for name in found]
    assert kept == [False, True, False, True, False, False]
    assert {name for name, skip in zip(found, kept, strict=True) if not skip} == {"nor_conv_3x3"}


def test_it_ends_where_no_other_candidate_is_left() -> None:
    space = DartsSpace(1, ("none", "skip_connect"))
    weights = mixing(torch.tensor([[0.5, 0.5], [0.4, 0.6]]), space)
    plan = SearchPlan(space, [SkipCap(0)])
    assert plan[DISCRETIZER](space, weights).skips("normal") == 2


def test_it_wraps_a_rule_of_another_strategy() -> None:
    plan = SearchPlan(SPACE, [SkipCap(0), FairDARTS()])
    table = torch.full((14, 8), 0.9)
    table[:, SKIP] = 0.95
    assert plan[DISCRETIZER](SPACE, mixing(table)).skips("normal") == 0


def test_the_provenance_has_the_cell_under_each_cap(make_search: SearchFactory) -> None:
    module: SearchModule = make_search([LaterEdges(), SkipCap(1, ["normal", "reduce"])])
    skip = module.space.cells[0].primitives.index("skip_connect")
    for alpha in module.arch.alpha.values():
        alpha.data[:, skip] = torch.linspace(1, 2, len(alpha))
    genotype = module.genotype()
    found = genotype.provenance["skip_cap"]
    assert found["most"] == 1
    for kind in ("normal", "reduce"):
        caps = found["cells"][kind]
        assert list(caps) == ["4", "3", "2", "1", "0"]
        assert [text.count("skip_connect") for text in caps.values()] == [4, 3, 2, 1, 0]
        nodes = [node.split() for node in caps["1"].split(" | ")]
        assert nodes == [[f"{name}@{source}" for name, source in n] for n in cell(genotype, kind)]
    titles = [title for title, _ in recorded(genotype)]
    assert titles[0] == "normal, at most 4 skips"
    assert len(titles) == 10


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (
            [SkipCap(2, ["norml"])],
            "SkipCap: unknown cell 'norml' in kinds; choose from normal, red",
        ),
        ([LaterEdges(), FairDARTS()], "LaterEdges and FairDARTS both decide the discretizer"),
    ],
)
def test_refusals(strategies: Sequence[SkipCap], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchPlan(SPACE, strategies)


def test_a_space_without_skips_is_refused() -> None:
    space = DartsSpace(2, ("none", "sep_conv_3x3"))
    with pytest.raises(UsageError, match="cell normal has no skip connection"):
        SearchPlan(space, [SkipCap()])
