import random
from collections import Counter

import pytest

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.spaces import DartsSpace

SPACE = DartsSpace()
DRAWS = [random_genotype(SPACE, seed) for seed in range(400)]


def test_only_the_seed_determines_the_genotype() -> None:
    random.seed(1)
    first = random_genotype(SPACE, 7)
    random.seed(2)
    assert random_genotype(SPACE, 7) == first
    assert len({str(genotype) for genotype in DRAWS}) == len(DRAWS)


def test_the_global_generator_is_unchanged() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    random_genotype(SPACE, 7)
    assert random.random() == expected


def test_every_draw_is_a_valid_genotype_without_none() -> None:
    for genotype in DRAWS:
        assert Genotype.from_dict(genotype.to_dict(), SPACE) == genotype
        assert genotype.provenance["seed"] in range(400)
        for kind in SPACE.kinds:
            assert genotype.count("none", kind) == 0


def test_a_node_reads_two_different_states() -> None:
    for genotype in DRAWS:
        for cell in genotype.cells.values():
            assert cell.concat == (2, 3, 4, 5)
            assert [len({i.source for i in node}) for node in cell.nodes] == [2] * 4


@pytest.mark.parametrize("kind", SPACE.kinds)
def test_operations_are_about_equally_frequent(kind: str) -> None:
    counts = Counter({p: sum(g.count(p, kind) for g in DRAWS) for p in SPACE.known_primitives})
    # 400 draws of 8 inputs over 7 operations: 457 each, standard deviation 20
    drawn = {name: n for name, n in counts.items() if n}
    assert len(drawn) == 7
    assert all(abs(n - 3200 / 7) < 100 for n in drawn.values())


def test_predecessors_are_about_equally_frequent() -> None:
    last = [g.cells["normal"].nodes[3] for g in DRAWS]
    counts = Counter(i.source for node in last for i in node)
    # 400 draws of 2 out of 5 states: 160 each, standard deviation 10
    assert set(counts) == set(range(5))
    assert all(abs(n - 160) < 50 for n in counts.values())


def test_draws_stay_within_a_smaller_space() -> None:
    small = DartsSpace(nodes=2, primitives=("none", "skip_connect"))
    cell = random_genotype(small, 0).cells["reduce"]
    assert len(cell.nodes) == 2
    assert {i.primitive for node in cell.nodes for i in node} == {"skip_connect"}
