"""Reading cells off mixing weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.architecture import Genotype
from nas_lightning.search import one_hot, strongest_edges
from nas_lightning.spaces import DARTS_PRIMITIVES, DartsSpace, DartsSupernet
from nas_lightning.supernet import Mixing

SPACE = DartsSpace()


def mixing_of(seed: int, edges: bool = True, scale: float = 1.0) -> Mixing:
    """Random softmaxed weights of both cell kinds."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    ops = {kind: draw(14, 8).softmax(-1) for kind in SPACE.kinds}
    ones = {kind: torch.ones(14) for kind in SPACE.kinds}
    rows = {
        kind: torch.cat([part.softmax(0) for part in torch.split(draw(14), [2, 3, 4, 5])])
        for kind in SPACE.kinds
    }
    return Mixing(ops, rows if edges else ones)


def by_the_paper(mixing: Mixing, kind: str) -> list[set[tuple[str, int]]]:
    """DARTS' rule written out on plain lists, for every node a set of (operation, source)."""
    nodes, row = [], 0
    for node in range(4):
        candidates = []
        for source in range(node + 2):
            weights = (mixing.ops[kind][row + source] * mixing.edges[kind][row + source]).tolist()
            best = max(range(1, 8), key=lambda m: weights[m])  # 0 is `none`
            candidates.append((weights[best], DARTS_PRIMITIVES[best], source))
        candidates.sort(reverse=True)
        nodes.append({(op, source) for _, op, source in candidates[:2]})
        row += node + 2
    return nodes


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=60, deadline=None)
def test_it_is_the_rule_of_the_paper(seed: int, edges: bool) -> None:
    mixing = mixing_of(seed, edges)
    genotype = strongest_edges(SPACE, mixing)
    for kind in SPACE.kinds:
        found = [{(i.primitive, i.source) for i in node} for node in genotype.cells[kind].nodes]
        assert found == by_the_paper(mixing, kind)


@given(st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_two_inputs_a_node_never_none_and_a_json_round_trip(seed: int) -> None:
    genotype = strongest_edges(SPACE, mixing_of(seed))
    for cell in genotype.cells.values():
        assert len(cell.nodes) == 4
        for index, node in enumerate(cell.nodes):
            assert len({i.source for i in node}) == 2
            assert all(i.primitive != "none" and i.source < index + 2 for i in node)
    assert Genotype.from_dict(genotype.to_dict()) == genotype


@given(st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_edge_weights_change_the_edges_and_never_the_operation(seed: int, other: int) -> None:
    ops = mixing_of(seed).ops
    operations: dict[tuple[str, int, int], str] = {}
    for edges in (mixing_of(seed).edges, mixing_of(other).edges):
        for kind, cell in strongest_edges(SPACE, Mixing(ops, edges)).cells.items():
            for target, node in enumerate(cell.nodes):
                for kept in node:
                    place = kind, target, kept.source
                    assert operations.setdefault(place, kept.primitive) == kept.primitive


def test_edge_weights_do_change_the_edges() -> None:
    ops = {kind: torch.full((14, 8), 0.125) for kind in SPACE.kinds}
    edges = {kind: torch.ones(14) for kind in SPACE.kinds}
    first = strongest_edges(SPACE, Mixing(ops, edges))
    edges["normal"] = torch.arange(14.0)
    second = strongest_edges(SPACE, Mixing(ops, edges))
    assert [i.source for i in first.cells["normal"].nodes[3]] == [0, 1]  # ties: lower index
    assert [i.source for i in second.cells["normal"].nodes[3]] == [4, 3]  # strongest first


def test_softmax_comes_before_none_is_excluded() -> None:
    # edge 0 has a large `none`, so its best operation is weak although its logit is as large
    alpha = torch.zeros(14, 8)
    alpha[9:14, 4] = torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0])
    alpha[9, 0] = 5.0
    weights = {kind: alpha.softmax(-1) for kind in SPACE.kinds}
    ones = {kind: torch.ones(14) for kind in SPACE.kinds}
    last = strongest_edges(SPACE, Mixing(weights, ones)).cells["normal"].nodes[3]
    assert [i.source for i in last] == [1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_one_hot_weights_stand_for_their_genotype(seed: int) -> None:
    genotype = strongest_edges(SPACE, mixing_of(seed))
    weights = one_hot(SPACE, genotype, torch.device("cpu"))
    assert all(float(edges.sum()) == 8.0 for edges in weights.edges.values())
    again = strongest_edges(SPACE, weights)
    for kind in SPACE.kinds:
        for mine, theirs in zip(again.cells[kind].nodes, genotype.cells[kind].nodes, strict=True):
            assert set(mine) == set(theirs)


def test_operations_that_would_count_as_zero_do_not_run() -> None:
    torch.manual_seed(0)
    supernet = DartsSupernet(channels=4, layers=3).build(
        {"in_channels": 3, "num_classes": 4, "image_size": 8}, k=1
    )
    genotype = strongest_edges(SPACE, mixing_of(5))
    weights = one_hot(SPACE, genotype, torch.device("cpu"))
    all_run = Mixing(weights.ops, weights.edges)
    images = torch.randn(4, 3, 8, 8)
    work = []
    for weights_of in (weights, all_run):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            work.append((supernet(images, weights_of), counter.get_total_flops()))
    (found, few), (expected, all_of_them) = work
    torch.testing.assert_close(found, expected)
    assert few < all_of_them / 3
