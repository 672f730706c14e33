"""Which weights of a supernet belong to which operation."""

from typing import Any

import pytest
from torch import nn

from nas_lightning.data import Signals
from nas_lightning.search import SearchModule
from nas_lightning.spaces import (
    ChoiceSupernet,
    DartsSupernet,
    NasBench201Supernet,
    ReconstructionSupernet,
)
from nas_lightning.strategies import ProgressiveChannels
from nas_lightning.supernet import SupernetFactory
from nas_lightning.supernet.operations import own_weights
from nas_lightning.tasks import Reconstruction
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, tiny_supernet

FACTORIES: dict[str, SupernetFactory] = {
    "darts": tiny_supernet(),
    "individual": DartsSupernet(8, 3, nodes=1, primitives=PRIMITIVES, individual=True),
    "nas_bench_201": NasBench201Supernet(4, 1, affine=True),
    "choices": ChoiceSupernet("tests.spaces.choice.networks.Chain"),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_every_weight_belongs_to_one_operation(name: str) -> None:
    module = SearchModule(SPEC, FACTORIES[name])
    found = [n for each in own_weights(module.supernet, module.space) for n in each.names]
    inside = ("edges.", "candidates.")
    weights = {n for n, _ in module.supernet.named_parameters() if any(x in n for x in inside)}
    assert len(found) == len(set(found))
    assert set(found) == weights


def test_a_nested_choice_has_its_own_weights() -> None:
    module = SearchModule(SPEC, ChoiceSupernet("tests.spaces.nested.Nested"))
    found = {each.operation: each.names for each in own_weights(module.supernet, module.space)}
    assert {name: len(names) for name, names in found.items()} == {
        **{"small": 2, "deep": 3},
        **{"b8": 2, "b20": 1},
    }
    assert all(".1.candidates." in name for inner in ("b8", "b20") for name in found[inner])


def test_an_operation_that_widens_has_both_weights(make_search: SearchFactory) -> None:
    module = make_search([ProgressiveChannels(1, keep=2, k=4, wide_k=2, warmup=0)])
    for each in own_weights(module.supernet, module.space):
        sides = [sum(f".{side}." in name for name in each.names) for side in ("narrow", "wide")]
        assert sides[0] == sides[1] > 0


def test_operations_of_reconstructions_are_found() -> None:
    factory = ReconstructionSupernet(2, filters=2, channels=2)
    module = SearchModule(Signals(size=16).data_spec, factory, Reconstruction())
    found = own_weights(module.supernet, module.space)
    names = [name for each in found for name in each.names]
    assert sorted(names) == sorted(name for name, _ in module.supernet.named_parameters())
    assert {each.edge for each in found} == {str(edge) for edge in module.space.cells[0].edges}


def test_weights_that_operations_share_belong_to_none() -> None:
    module = SearchModule(SPEC, ChoiceSupernet("tests.spaces.choice.networks.Chain"))
    network: Any = module.supernet.network
    candidates = network.blocks[0].candidates
    candidates["k3"] = nn.Sequential(candidates["k1"][0], candidates["k3"][1])
    found = {each.operation: each.names for each in own_weights(module.supernet, module.space)
             if (each.kind, each.number) == ("kernel", 0)}  # fmt: skip
    assert {name: len(names) for name, names in found.items()} == {"k1": 2, "k3": 2}


def test_a_cell_without_mixed_edges_has_no_operations() -> None:
    module = SearchModule(SPEC, tiny_supernet())
    cells: Any = module.supernet.cells
    for cell in cells:
        cell.edges = nn.ModuleList(nn.Linear(2, 2) for _ in cell.edges)
    assert own_weights(module.supernet, module.space) == []
