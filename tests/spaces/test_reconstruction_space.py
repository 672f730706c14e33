"""The space of unrolled reconstructions."""

import pytest

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput, random_genotype
from nas_lightning.errors import GenotypeError
from nas_lightning.spaces import ReconstructionSpace, get_space

SPACE = get_space("reconstruction")


def test_every_state_may_follow_any_earlier_state() -> None:
    (cell,) = SPACE.cells
    pairs = [(edge.source, edge.target) for edge in cell.edges]
    assert pairs == [(s, t) for t in (1, 2, 3, 4) for s in range(t)]
    assert (cell.inputs, cell.nodes, cell.concat, cell.fan_in) == (
        1,
        (1, 2, 3, 4),
        (4,),
        (1, 2, 3, 4),
    )
    assert len(ReconstructionSpace(nodes=6).cells[0].edges) == 21


def test_a_genotype_is_a_tree_without_none() -> None:
    for seed in range(20):
        genotype = random_genotype(SPACE, seed)
        assert [len(node) for node in genotype.cells["unrolled"].nodes] == [1, 1, 1, 1]
        assert genotype.count("none", "unrolled") == 0
        assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_none_in_a_file_is_refused() -> None:
    cell = CellGenotype(((NodeInput("none", 0),),), (1,), 1)
    given = Genotype(ReconstructionSpace(), {"unrolled": cell}).to_dict()
    with pytest.raises(GenotypeError, match="unknown primitive 'none'"):
        Genotype.from_dict(given)
