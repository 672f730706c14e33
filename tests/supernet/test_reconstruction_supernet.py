"""The supernet of reconstructions against its formula, and against the discrete network."""

from typing import Any

import pytest
import torch
from torch import Tensor

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.operators import Blur, BlurDownsample, Operator
from nas_lightning.search.discretize import one_hot
from nas_lightning.spaces import (
    RECONSTRUCTION_PRIMITIVES,
    DiscreteReconstruction,
    MixedReconstruction,
    ReconstructionNetwork,
    ReconstructionSpace,
    ReconstructionSupernet,
)
from nas_lightning.spaces.reconstruction.operations import Stepping
from nas_lightning.spaces.reconstruction.states import Measurement
from nas_lightning.supernet import Mixing

DIMS = pytest.mark.parametrize("dims", [1, 2])
KIND = "unrolled"
CPU = torch.device("cpu")


def spec(dims: int, operator: Operator | None = None) -> dict[str, Any]:
    given = (operator or BlurDownsample(1.0, 5, 2)).to_config()
    return {"in_channels": 1, "image_size": 8, "dims": dims, "peak": 1.0, "operator": given}


def built(dims: int, nodes: int = 3) -> MixedReconstruction:
    """In float64, with step sizes and filters of their own on every edge."""
    torch.manual_seed(0)
    supernet = ReconstructionSupernet(nodes, filters=2, channels=3).build(spec(dims), 1).double()
    for weight in supernet.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return supernet


def measured(supernet: MixedReconstruction, dims: int) -> Tensor:
    y: Tensor = supernet.operator(torch.randn(2, 1, *[8] * dims, dtype=torch.float64))
    return y


def drawn(supernet: MixedReconstruction) -> Mixing:
    """Rows that do not sum to one, and edges that differ."""
    ops = torch.rand(len(supernet.cell.edges), len(supernet.cell.primitives)).double()
    ops.requires_grad_()
    edges = torch.rand(len(ops), dtype=torch.float64, requires_grad=True)
    return Mixing({KIND: ops}, {KIND: edges})


def by_the_formula(supernet: MixedReconstruction, y: Tensor, mixing: Mixing) -> Tensor:
    """Edge by edge and operation by operation, each as the discrete network runs it."""
    start = Measurement(supernet.operator, y).start()
    states, cell = [start], supernet.cell
    for node in cell.nodes:
        total, weights = torch.zeros_like(start.u), torch.zeros((), dtype=torch.float64)
        for edge in cell.incoming(node):
            for m, name in enumerate(cell.primitives):
                weight = mixing.edges[KIND][edge] * mixing.ops[KIND][edge, m]
                ops = supernet.edges[edge]
                assert isinstance(ops, torch.nn.ModuleDict)
                total = total + weight * ops[name](states[cell.edges[edge].source])
                weights = weights + weight
        states.append(start.then(total / weights))
    return states[-1].u


@DIMS
def test_it_is_the_mean_of_the_formula_with_all_gradients(dims: int) -> None:
    supernet = built(dims)
    y, mixing = measured(supernet, dims), drawn(supernet)
    inputs = [mixing.ops[KIND], mixing.edges[KIND], *supernet.parameters()]
    found, expected = supernet(y, mixing), by_the_formula(supernet, y, mixing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    pairs = [torch.autograd.grad(u.square().sum(), inputs) for u in (found, expected)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def copied(supernet: MixedReconstruction, genotype: Genotype, dims: int) -> DiscreteReconstruction:
    """The discrete network with the supernet's weights."""
    factory = ReconstructionNetwork(filters=2, channels=3)
    network = factory.build(genotype, spec(dims)).double()
    cell = supernet.cell
    for target, node, kept in zip(
        cell.nodes, network.nodes, genotype.cells[KIND].nodes, strict=True
    ):
        assert isinstance(node, torch.nn.ModuleList)
        for op, edge in zip(node, kept, strict=True):
            row = next(i for i in cell.incoming(target) if cell.edges[i].source == edge.source)
            candidates = supernet.edges[row]
            assert isinstance(candidates, torch.nn.ModuleDict)
            op.load_state_dict(candidates[edge.primitive].state_dict())
    return network


@DIMS
@pytest.mark.parametrize("primitive", [p for p in RECONSTRUCTION_PRIMITIVES if p != "none"])
@pytest.mark.parametrize("only_active", [False, True])
def test_one_hot_weights_are_the_discrete_network(
    primitive: str, dims: int, only_active: bool
) -> None:
    supernet = built(dims)
    sources = (0, 0, 2)
    nodes = tuple((NodeInput(primitive, source),) for source in sources)
    genotype = Genotype(ReconstructionSpace(), {KIND: CellGenotype(nodes, (3,), 1)})
    mixing = one_hot(ReconstructionSupernet(3).space, genotype, CPU)
    if only_active:
        runs = tuple(tuple(row.nonzero().flatten().tolist()) for row in mixing.ops[KIND])
        mixing = Mixing(mixing.ops, mixing.edges, {KIND: runs})
    y = measured(supernet, dims)
    expected, _ = copied(supernet, genotype, dims)(y)
    torch.testing.assert_close(supernet(y, mixing), expected, rtol=1e-12, atol=1e-12)
    start = supernet.operator.adjoint(y)
    assert torch.equal(expected, start) == (primitive == "skip_connect")


@DIMS
def test_random_genotypes_and_states_that_keep_several_or_no_operations(dims: int) -> None:
    supernet = built(dims)
    space = ReconstructionSupernet(3).space
    several = CellGenotype(
        (
            (NodeInput("regularizer", 0), NodeInput("residual_cnn", 0)),
            (),
            (NodeInput("gradient_step", 1), NodeInput("shift", 0), NodeInput("skip_connect", 2)),
        ),
        (3,),
        1,
    )
    genotypes = [random_genotype(space, seed) for seed in range(4)]
    y = measured(supernet, dims)
    for genotype in (*genotypes, Genotype(ReconstructionSpace(), {KIND: several})):
        expected, _ = copied(supernet, genotype, dims)(y)
        mixing = one_hot(space, genotype, CPU)
        exact = Mixing({KIND: mixing.ops[KIND].double()}, mixing.edges)  # a third of each of three
        found = supernet(y, exact)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_only_active_operations_run() -> None:
    supernet = built(1)
    y, mixing = measured(supernet, 1), drawn(supernet)
    runs = tuple((m % 7,) if m != 1 else () for m in range(len(supernet.cell.edges)))
    output = supernet(y, Mixing(mixing.ops, mixing.edges, {KIND: runs}))
    supernet.zero_grad()
    output.sum().backward()
    for edge, ops in enumerate(supernet.edges):
        assert isinstance(ops, torch.nn.ModuleDict)
        for m, op in enumerate(ops.values()):
            if m not in runs[edge]:
                assert all(weight.grad is None for weight in op.parameters())


def test_a_drawn_cell_without_weights_has_zero_gradients() -> None:
    supernet = built(1)
    y, mixing = measured(supernet, 1), drawn(supernet).detach()
    for operation in ("none", "skip_connect"):
        runs = ((RECONSTRUCTION_PRIMITIVES.index(operation),),) * len(supernet.cell.edges)
        output = supernet(y, Mixing(mixing.ops, mixing.edges, {KIND: runs}))
        assert bool(output.any()) == (operation == "skip_connect")
        gradients = torch.autograd.grad(
            output.sum(), list(supernet.parameters()), materialize_grads=True
        )
        assert not any(gradient.any() for gradient in gradients)


def test_a_chain() -> None:
    space = ReconstructionSupernet(nodes=6, reach=1).space
    assert [str(edge) for edge in space.cells[0].edges] == [f"{s}-{s + 1}" for s in range(6)]
    edges = ReconstructionSupernet(nodes=4, reach=2).space.cells[0].edges
    assert [str(edge) for edge in edges] == ["0-1", "0-2", "1-2", "1-3", "2-3", "2-4", "3-4"]


def test_a_fresh_supernet_keeps_the_scale_of_signals() -> None:
    """However the edges are weighted, u_4 is about as large as what was measured."""
    torch.manual_seed(0)
    supernet = ReconstructionSupernet().build(spec(1, Blur()), 1)
    y = supernet.operator(torch.randn(16, 1, 64))
    ops = torch.ones(10, 7) / 7
    for edges in (torch.ones(10), 0.1 * torch.ones(10), torch.rand(10)):
        found = supernet(y, Mixing({KIND: ops}, {KIND: edges}))
        assert 0.2 < found.std() / y.std() < 2


def test_a_fresh_step_size_is_one() -> None:
    supernet = ReconstructionSupernet().build(spec(1), 1)
    steps = [op.size() for op in supernet.modules() if isinstance(op, Stepping)]
    assert len(steps) == 30
    torch.testing.assert_close(torch.stack(steps), torch.ones(30), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 2}, "no channels to mix a part of"),
        ({"auxiliary": True}, "set auxiliary_weight to 0"),
        ({"data_spec": {"in_channels": 3, "num_classes": 10}}, "has no operator"),
    ],
)
def test_refusals_of_build(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"data_spec": spec(1), "k": 1, **change}
    with pytest.raises(UsageError, match=message):
        ReconstructionSupernet().build(**arguments)


@pytest.mark.parametrize(
    "sizes", [{"nodes": 0}, {"filters": 0}, {"channels": 0}, {"primitives": ["skip_connect"]}]
)
def test_refusals_of_sizes(sizes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least"):
        ReconstructionSupernet(**sizes)
