"""Constants of a compiled cell are on the device before the cell runs.

A tensor that is made of host data keeps inductor from replaying a cell as a CUDA graph.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.spaces.darts.cell import SearchCell
from nas_lightning.spaces.nas_bench_201.supernet import PlainSearchCell
from nas_lightning.strategies import EdgeNormalization, PartialChannels
from nas_lightning.supernet import SupernetFactory
from tests.conftest import SPEC

# of PyTorch's own making, while it looks at what enters a cell
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor that is not a leaf.*"),
]

MAKERS = {torch.tensor, torch.as_tensor, torch.eye, torch.arange, torch.from_numpy}
"""Operators that make tensors in a pass."""
DARTS = DartsSupernet(channels=8, layers=3, nodes=2)


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def compiled(supernet: SupernetFactory, strategies: Sequence[SearchStrategy], device: str) -> Any:
    """Graphs of the cells of a supernet that ran on a device."""
    module = SearchModule(SPEC, supernet, strategies=list(strategies)).to(device)
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    for part in module.supernet.modules():
        if isinstance(part, SearchCell | PlainSearchCell):
            part.compile(backend=backend, dynamic=False)
    module.supernet(torch.zeros(4, 3, 8, 8, device=device), module.arch())
    return graphs


# autocast, which cells of partial channels leave, is unknown on the device meta
@pytest.mark.parametrize(
    ("supernet", "strategies", "device"),
    [
        (DARTS, (), "meta"),
        (DARTS, (), "cpu"),
        (DARTS, (PartialChannels(2), EdgeNormalization()), "cpu"),
        (NasBench201Supernet(4, 1), (), "meta"),
        (NasBench201Supernet(4, 1), (), "cpu"),
    ],
)
def test_a_compiled_cell_makes_nothing_of_host_data(
    supernet: SupernetFactory, strategies: Sequence[SearchStrategy], device: str
) -> None:
    graphs = compiled(supernet, strategies, device)
    assert graphs
    assert not torch._dynamo.utils.counters["graph_break"]
    constants = 0
    for graph in graphs:
        assert not [node for node in graph.graph.nodes if node.target in MAKERS]
        there = [getattr(graph, n.target) for n in graph.graph.nodes if n.op == "get_attr"]
        constants += len(there)
        shown = [node.meta.get("example_value") for node in graph.graph.nodes]
        tensors = [value for value in [*there, *shown] if isinstance(value, Tensor)]
        assert {value.device.type for value in tensors} == {device}
    assert constants
