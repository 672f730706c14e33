"""The fast cell against the reference cell, in double precision: values and all gradients."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.architecture import Cell
from nas_lightning.bench.counters import Dispatched
from nas_lightning.layers.drop_path import set_drop_path
from nas_lightning.layers.primitives import PRIMITIVES, FactorizedReduce, NormRule, relu_conv_norm
from nas_lightning.spaces import (
    DARTS_PRIMITIVES,
    DartsSpace,
    DartsSupernet,
    NasBench201Space,
    NasBench201Supernet,
)
from nas_lightning.supernet import (
    CellExecution,
    Mixing,
    Supernet,
    SupernetFactory,
    fast_cell,
    reference_cell,
)
from nas_lightning.supernet.fast import cell as pass_of_a_cell
from nas_lightning.supernet.fast import (
    constants,
    dilated,
    fast_preprocess,
    grouped,
    nodes,
    norms,
    products,
    stages,
    tiny,
)
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import MixedEdge, mixed_edge, reference_preprocess

SEARCH_NORM = NormRule(affine=False, after_pool=True, running_stats=False)
WITH_NONE = tuple(PRIMITIVES)


class Case(NamedTuple):
    """A cell with weights and inputs."""

    cell: Cell
    edges: nn.ModuleList
    inputs: list[Tensor]
    ops: Tensor
    scales: Tensor
    active: Active | None


def case(
    cell: Cell,
    channels: int = 8,
    k: int = 1,
    reduction: bool = False,
    size: int = 6,
    batch: int = 3,
    norm: NormRule = SEARCH_NORM,
    active: Active | None = None,
    seed: int = 0,
) -> Case:
    """Random weights everywhere; some of the mixing weights negative."""
    torch.manual_seed(seed)
    edges = nn.ModuleList(
        mixed_edge(
            cell.primitives, channels, 2 if reduction and e.source < cell.inputs else 1, norm, k
        )
        for e in cell.edges
    ).double()
    for parameter in edges.parameters():
        nn.init.normal_(parameter, std=0.5)
    shape = batch, channels, size, size
    inputs = [torch.randn(shape, dtype=torch.float64) for _ in range(cell.inputs)]
    ops = torch.randn(len(cell.edges), len(cell.primitives), dtype=torch.float64)
    scales = torch.randn(len(cell.edges), dtype=torch.float64)
    return Case(cell, edges, inputs, ops, scales, active)


def results(compute: Callable[..., Tensor], given: Case, weight_step: bool) -> list[Tensor]:
    """Output, gradients of inputs, mixing weights and parameters, buffers afterwards.

    In a weight step the mixing weights have no gradient.
    """
    edges = copy.deepcopy(given.edges)
    leaves = [x.clone().requires_grad_() for x in given.inputs]
    inputs = list(leaves)
    ops, scales = given.ops, given.scales
    if not weight_step:
        ops, scales = ops.clone().requires_grad_(), scales.clone().requires_grad_()
        leaves += [ops, scales]
    out = compute(given.cell, inputs, edges, ops, scales, given.active)
    generator = torch.Generator().manual_seed(1)
    loss = (out * torch.randn(out.shape, dtype=out.dtype, generator=generator)).sum()
    wanted = [*leaves, *edges.parameters()]
    if not loss.requires_grad:  # nothing but `none` runs
        return [out.detach(), *edges.buffers()]
    gradients = torch.autograd.grad(loss, wanted, materialize_grads=True)
    return [out.detach(), *gradients, *edges.buffers()]


def assert_equal(given: Case) -> None:
    for weight_step in (False, True):
        reference = results(reference_cell, given, weight_step)
        fast = results(fast_cell, given, weight_step)
        for first, second in zip(reference, fast, strict=True):
            scale = float(first.abs().max()) if first.numel() else 0.0
            # relative to the largest entry; biases in front of a batch norm have gradients of
            # zero, of which 1e-12 is left on some CPUs
            torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-9 * max(scale, 1e-2))


def darts_cell(nodes: int, primitives: Sequence[str]) -> Cell:
    return DartsSpace(nodes, primitives).cells[0]


def nas_bench_cell() -> Cell:
    return NasBench201Space().cells[0]


@pytest.fixture(autouse=True, params=["large", "small"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of large images, and those of small ones."""
    monkeypatch.setattr(pass_of_a_cell, "SMALL", 0 if request.param == "large" else 2**30)
    monkeypatch.setattr(tiny, "TINY", 0 if request.param == "large" else 512)
    monkeypatch.setattr(dilated, "LARGE", 0 if request.param == "large" else 2**30)
    monkeypatch.setattr(grouped, "WIDE", 0 if request.param == "large" else 16)
    monkeypatch.setattr(norms, "PIXELS", 0 if request.param == "large" else 2**30)
    monkeypatch.setattr(products, "PIXELS", 0 if request.param == "large" else 2**40)


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize(("channels", "k"), [(2, 1), (8, 1), (8, 4), (12, 2), (6, 3)])
def test_the_darts_cell(channels: int, k: int, reduction: bool) -> None:
    assert_equal(case(darts_cell(4, DARTS_PRIMITIVES), channels, k, reduction))


@pytest.mark.parametrize("reduction", [False, True])
def test_every_primitive(reduction: bool) -> None:
    assert_equal(case(darts_cell(3, WITH_NONE), 4, 2, reduction))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_the_nas_bench_201_cell(affine: bool, running: bool) -> None:
    norm = NormRule(affine, after_pool=False, running_stats=running)
    assert_equal(case(nas_bench_cell(), norm=norm))


@pytest.mark.parametrize("reduction", [False, True])
def test_running_statistics_move_alike_and_are_used_alike(reduction: bool) -> None:
    norm = NormRule(affine=False, after_pool=True, running_stats=True)
    given = case(darts_cell(2, DARTS_PRIMITIVES), 4, 2, reduction, norm=norm)
    assert_equal(given)
    for buffer in given.edges.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    given.edges.eval()
    assert_equal(given)


@pytest.mark.parametrize("dense", [0, 1, 100])
@pytest.mark.parametrize("wide", [1, 1000])
@pytest.mark.parametrize("product", [0, 1000])
@pytest.mark.parametrize("size", [6, 7])
def test_every_way_to_run_convolutions_and_batch_norms(
    dense: int, wide: int, product: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dilated kernels on images that their grids divide, and on others."""
    monkeypatch.setattr(stages, "DENSE", dense)
    monkeypatch.setattr(norms, "WIDE", wide)
    monkeypatch.setattr(stages, "PRODUCT", product)
    assert_equal(case(darts_cell(2, WITH_NONE), 4, 2, size=size))
    if size % 2 == 0:  # a strided skip needs that
        assert_equal(case(darts_cell(2, WITH_NONE), 4, 2, reduction=True, size=size))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_what_goes_into_cells(affine: bool, running: bool) -> None:
    """Cells of different widths and one behind a reduction read the same state."""
    norm = NormRule(affine, after_pool=True, running_stats=running)
    torch.manual_seed(0)
    ops = nn.ModuleList(
        (relu_conv_norm(6, 4, norm), FactorizedReduce(6, 4, norm), relu_conv_norm(6, 8, norm))
    ).double()
    x = torch.randn(3, 6, 4, 4, dtype=torch.float64)
    found = []
    for preprocess in (reference_preprocess, fast_preprocess):
        mine, leaf = copy.deepcopy(ops), x.clone().requires_grad_()
        outs = preprocess(leaf, list(mine))
        loss = torch.stack([out.pow(3).mean() for out in outs]).sum()
        gradients = torch.autograd.grad(loss, [leaf, *mine.parameters()])
        found.append([*outs, *gradients, *mine.buffers()])
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-12)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    nodes = draw(st.integers(1, 4))
    primitives = draw(
        st.lists(st.sampled_from(WITH_NONE), min_size=2, max_size=5, unique=True).map(tuple)
    )
    share, k = draw(st.integers(2, 5)), draw(st.sampled_from([1, 2, 4]))
    cell = darts_cell(nodes, primitives)
    active = None
    if draw(st.booleans()):
        subsets = st.sets(st.integers(0, len(primitives) - 1)).map(lambda s: tuple(sorted(s)))
        rows = [draw(subsets) for _ in cell.edges]
        for node in cell.nodes:  # every node keeps an edge
            if not any(rows[i] for i in cell.incoming(node)):
                rows[draw(st.sampled_from(cell.incoming(node)))] = (0,)
        active = tuple(rows)
    return case(
        cell,
        channels=2 * share * k,  # even: a skip of stride 2 halves them
        k=k,
        reduction=draw(st.booleans()),
        size=draw(st.sampled_from([2, 4, 6])),
        batch=draw(st.integers(2, 4)),
        active=active,
        seed=draw(st.integers(0, 99)),
    )


@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(given=cases())
def test_any_cell(given: Case) -> None:
    assert_equal(given)


def test_drop_path_has_the_draws_of_the_reference() -> None:
    given = case(darts_cell(2, DARTS_PRIMITIVES), 4)
    set_drop_path(given.edges, 0.5)
    outputs = []
    for compute in (reference_cell, fast_cell):
        torch.manual_seed(7)
        outputs.append(results(compute, given, weight_step=False))
    for first, second in zip(*outputs, strict=True):
        assert torch.equal(first, second)


def test_an_operation_that_it_does_not_know_runs_by_itself() -> None:
    """Such as batch norm over all processes, which replaces layers in place."""

    class Scaled(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * super().forward(x)

    given = case(darts_cell(2, ("skip_connect", "sep_conv_3x3", "max_pool_3x3")), 4)
    for edge in given.edges:
        layers = cast("MixedEdge", edge).ops[1].get_submodule("0")
        cast("nn.Sequential", layers)[-1] = Scaled(4, affine=False, track_running_stats=False)
    assert_equal(given)


def test_it_stays_differentiable_twice() -> None:
    given = case(darts_cell(2, DARTS_PRIMITIVES), 4, 2, size=4)
    found = []
    for compute in (reference_cell, fast_cell):
        ops = given.ops.clone().requires_grad_()
        x = given.inputs[0].clone().requires_grad_()
        out = compute(given.cell, [x, given.inputs[1]], given.edges, ops, given.scales)
        (slope,) = torch.autograd.grad(out.pow(3).sum(), ops, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [ops, x]))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-9)


def test_weights_in_single_precision_do_for_a_network_in_double() -> None:
    given = case(darts_cell(2, DARTS_PRIMITIVES), 4, 2)
    given = given._replace(ops=given.ops.float(), scales=given.scales.float())
    reference = reference_cell(given.cell, given.inputs, given.edges, given.ops, given.scales)
    fast = fast_cell(given.cell, given.inputs, given.edges, given.ops, given.scales)
    assert fast.dtype == torch.float64
    torch.testing.assert_close(fast, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("mixed", [True, False])
def test_bfloat16_is_single_precision_roughly(k: int, mixed: bool) -> None:
    """Under autocast, and for a network of bfloat16 weights."""
    factory = DartsSupernet(channels=8, layers=3, nodes=2)
    torch.manual_seed(0)
    network = factory.build({**SPEC, "image_size": 32}, k)
    x = torch.randn(8, 3, 32, 32)
    found = []
    nodes._fixed.forget()  # type: ignore[attr-defined] # made under autocast by whoever is first
    for low in (True, False) if mixed else (False, True):
        if low and not mixed:
            network, x = network.bfloat16(), x.bfloat16()
        with torch.autocast("cpu", torch.bfloat16, enabled=low and mixed):
            loss = F.cross_entropy(network(x, mixing(factory)).float(), torch.arange(8) % 5)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        found.append(
            (loss.detach(), torch.cat([gradient.float().flatten() for gradient in gradients]))
        )
    found = found[::-1] if mixed else found
    assert float(found[1][0]) == pytest.approx(float(found[0][0]), rel=0.05)
    assert F.cosine_similarity(found[0][1], found[1][1], dim=0) > 0.9


# -- whole supernets -------------------------------------------------------------------------------

FACTORIES: dict[str, tuple[SupernetFactory, int]] = {
    "darts": (DartsSupernet(channels=8, layers=3, nodes=2), 2),
    "individual": (DartsSupernet(channels=4, layers=3, nodes=2, individual=True), 1),
    "nas_bench_201": (NasBench201Supernet(channels=4, cells=1), 1),
}
SPEC = {"in_channels": 3, "num_classes": 5, "image_size": 8}


def pair(name: str) -> tuple[Supernet, Supernet]:
    """A reference and a fast supernet, of which one has loaded the other's state."""
    factory, k = FACTORIES[name]
    torch.manual_seed(0)
    first = factory.build(
        SPEC, k, execution=CellExecution(reference_cell, reference_preprocess)
    ).double()
    second = factory.build(SPEC, k).double()
    second.load_state_dict(first.state_dict())
    return first, second


def mixing(factory: SupernetFactory) -> Mixing:
    generator = torch.Generator().manual_seed(3)
    ops, edges = {}, {}
    for cell in factory.space.cells:
        shape = len(cell.edges), len(cell.primitives)
        ops[cell.kind] = torch.rand(shape, dtype=torch.float64, generator=generator)
        edges[cell.kind] = torch.rand(shape[0], dtype=torch.float64, generator=generator)
    return Mixing(ops, edges)


@pytest.mark.parametrize("name", FACTORIES)
def test_state_dicts_load_into_either_supernet_which_then_agree(name: str) -> None:
    weights = mixing(FACTORIES[name][0])
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    outputs = []
    for network in pair(name):
        out = network(x, weights)
        gradients = torch.autograd.grad(
            F.cross_entropy(out, torch.arange(4)), list(network.parameters())
        )
        outputs.append([out, *gradients])
    for first, second in zip(*outputs, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-12)
    first, second = pair(name)
    first.load_state_dict(second.state_dict())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_checkpointed_supernet_gives_the_same_bits_and_keeps_less(name: str) -> None:
    factory, k = FACTORIES[name]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    found, peaks = [], []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        network = factory.build(SPEC, k, execution=CellExecution(checkpoint=checkpoint)).double()
        with Dispatched() as counted:
            loss = network(x, mixing(factory)).square().sum()
            gradients = torch.autograd.grad(loss, list(network.parameters()))
        peaks.append(counted.peak_bytes)
        found.append([loss, *gradients])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    assert peaks[1] < 0.85 * peaks[0]


def test_a_checkpointed_graph_that_is_kept_gives_its_gradient_again() -> None:
    factory = DartsSupernet(channels=4, layers=2, nodes=2)
    network = factory.build(SPEC, 1, execution=CellExecution(checkpoint=True)).double()
    loss = network(torch.randn(4, 3, 8, 8, dtype=torch.float64), mixing(factory)).sum()
    weights = list(network.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, weights), strict=True):
        assert torch.equal(a, b)


def test_a_checkpointed_cell_moves_running_statistics_once() -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    states = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        factory = DartsSupernet(channels=4, layers=2, nodes=2, running_stats=True)
        network = factory.build(SPEC, 1, execution=CellExecution(checkpoint=checkpoint)).double()
        network(x, mixing(factory)).sum().backward()
        states.append(network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_what_evaluation_kept_serves_training() -> None:
    """Lightning evaluates in inference mode, whose tensors no gradient may be taken through."""
    for cached in (constants.index, constants.identity, nodes._fixed):
        cached.forget()  # type: ignore[union-attr] # set by made_once
    factory = DartsSupernet(channels=8, layers=2, nodes=2)
    network = factory.build(SPEC, 2).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        network(x, mixing(factory))
    network(x, mixing(factory)).sum().backward()


# -- kernels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["weight", "arch"])
def test_a_pass_of_pc_darts_takes_at_most_4000_kernels(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 channels, 8 cells, K = 4, as in the published CIFAR-10 search; the batch plays no part."""
    monkeypatch.undo()
    factory = DartsSupernet()
    network = factory.build({"in_channels": 3, "num_classes": 10, "image_size": 32}, k=4)
    weights = {
        kind: [t.float().requires_grad_(step == "arch") for t in (ops, edges)]
        for (kind, ops), edges in zip(
            mixing(factory).ops.items(), mixing(factory).edges.values(), strict=True
        )
    }
    given = Mixing({k: v[0] for k, v in weights.items()}, {k: v[1] for k, v in weights.items()})
    leaves = (
        [t for pair in weights.values() for t in pair]
        if step == "arch"
        else list(network.parameters())
    )
    with Dispatched() as counted:
        torch.autograd.grad(network(torch.randn(2, 3, 32, 32), given).sum(), leaves)
    assert 2000 < counted.kernels <= 4000
