"""The recurrent space, its genotypes, and their discretisation."""

import json
import random
from collections import Counter

import pytest
import torch

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.search import one_hot, strongest_edges
from nas_lightning.spaces import (
    PUBLISHED,
    RECURRENT_PRIMITIVES,
    RecurrentSpace,
    get_space,
    load_genotype,
)
from nas_lightning.supernet import Mixing

SPACE = RecurrentSpace()
CELL = SPACE.cells[0]
NAMES = ["DARTS_RNN_V1", "DARTS_RNN_V2"]


def test_edges_have_the_row_order_of_the_released_alpha() -> None:
    # row = 0 + 1 + … + (step - 1) + predecessor
    assert len(CELL.edges) == 36
    row = 0
    for step in range(8):
        for predecessor in range(step + 1):
            edge = CELL.edges[row]
            assert (edge.source, edge.target) == (predecessor, step + 1)
            row += 1
    assert CELL.nodes == CELL.concat == tuple(range(1, 9))
    assert CELL.fan_in == tuple(range(1, 9))


def test_columns_have_the_order_of_the_released_code() -> None:
    assert ",".join(RECURRENT_PRIMITIVES) == "none,tanh,relu,sigmoid,identity"


def test_the_space_is_found_by_name() -> None:
    assert get_space("darts_recurrent") == SPACE
    assert SPACE.kinds == ("recurrent",)
    assert SPACE.known_primitives == set(RECURRENT_PRIMITIVES) - {"none"}


def by_the_paper(ops: list[list[float]]) -> list[tuple[str, int]]:
    """Return each step's best operation and predecessor, without `none`, from plain lists."""
    found, row = [], 0
    for step in range(8):
        rows = ops[row : row + step + 1]
        best = max((w, -j, -m) for j, line in enumerate(rows) for m, w in enumerate(line) if m)
        found.append((RECURRENT_PRIMITIVES[-best[2]], -best[1]))
        row += step + 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_each_step_keeps_its_best_predecessor_with_its_best_operation(seed: int) -> None:
    torch.manual_seed(seed)
    ops = torch.randn(36, 5).softmax(dim=1)
    mixing = Mixing({"recurrent": ops}, {"recurrent": torch.ones(36)})
    genotype = strongest_edges(SPACE, mixing)
    cell = genotype.cells["recurrent"]
    assert [(i.primitive, i.source) for (i,) in cell.nodes] == by_the_paper(ops.tolist())
    assert cell.inputs == 1
    assert cell.concat == tuple(range(1, 9))
    assert Genotype.from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype
    # and back: one-hot weights for these edges discretise to the same cell
    assert strongest_edges(SPACE, one_hot(SPACE, genotype, torch.device("cpu"))) == genotype


def test_random_cells_have_one_predecessor_per_step_and_never_none() -> None:
    random.seed(0)
    cells = [random_genotype(SPACE, seed).cells["recurrent"] for seed in range(200)]
    for cell in cells:
        assert [len(node) for node in cell.nodes] == [1] * 8
        assert cell.inputs == 1
    counts = Counter(node.primitive for cell in cells for (node,) in cell.nodes)
    # 1600 draws of four operations: 400 each, standard deviation 17
    assert set(counts) == set(RECURRENT_PRIMITIVES) - {"none"}
    assert all(abs(count - 400) < 100 for count in counts.values())
    last = Counter(cell.nodes[7][0].source for cell in cells)
    assert set(last) == set(range(8))


def test_the_second_order_cell_as_released() -> None:
    cell = load_genotype("DARTS_RNN_V2", SPACE).cells["recurrent"]
    released = [("sigmoid", 0), ("relu", 1), ("relu", 1), ("identity", 1)]
    released += [("tanh", 2), ("sigmoid", 5), ("tanh", 3), ("relu", 5)]
    assert [(i.primitive, i.source) for (i,) in cell.nodes] == released


@pytest.mark.parametrize("name", NAMES)
def test_published_cells_belong_to_the_space(name: str) -> None:
    cell = load_genotype(name).cells["recurrent"]
    assert cell.concat == tuple(range(1, 9))
    # a step may read earlier states only
    assert all(i.source < step for step, (i,) in enumerate(cell.nodes, 1))


def test_the_text_form_numbers_states_as_in_the_papers() -> None:
    text = str(PUBLISHED["DARTS_RNN_V2"]).splitlines()
    assert text[0] == "recurrent cell"
    assert text[1] == "  1 = sigmoid(0)"
    assert text[8] == "  8 = relu(5)"
    assert text[9] == "  output = 1, 2, 3, 4, 5, 6, 7, 8"
