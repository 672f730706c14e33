"""The fast cell against the reference cell, in double precision: values and all gradients."""

import copy
import itertools
from functools import partial
from typing import cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_lightning.layers.drop_path import set_drop_path
from nas_lightning.layers.primitives import PRIMITIVES, FactorizedReduce, NormRule, relu_conv_norm
from nas_lightning.spaces import (
    DARTS_PRIMITIVES,
)
from nas_lightning.supernet import (
    fast_cell,
    reference_cell,
)
from nas_lightning.supernet.fast import fast_preprocess
from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.reference import MixedEdge, reference_preprocess
from tests.supernet.fast_cases import (
    Case,
    assert_equal,
    case,
    choose,
    darts_cell,
    nas_bench_cell,
    results,
)

# noise draws once per edge, in the order in which the edges are computed
WITH_NONE = tuple(name for name in PRIMITIVES if name != "noise")
LONG = partial(pytest.param, marks=pytest.mark.long)
PAIRS = {
    *((0, 1, 0, 6), (0, 1000, 1000, 7), (1, 1, 1000, 7)),
    *((1, 1000, 0, 6), (100, 1, 0, 7), (100, 1000, 1000, 6)),
}
"""Limits and image sizes in which every two values meet; `make test-all` runs all of them."""


@pytest.fixture(autouse=True, params=["large", "small"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(request.param, monkeypatch)


@pytest.mark.parametrize("reduction", [False, True])
@pytest.mark.parametrize(("channels", "k"), [(8, 1), (8, 4), (6, 3), LONG(2, 1), LONG(12, 2)])
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


@pytest.mark.parametrize(
    ("dense", "wide", "product", "size"),
    [
        pytest.param(*way, marks=[] if way in PAIRS else pytest.mark.long)
        for way in itertools.product([0, 1, 100], [1, 1000], [0, 1000], [6, 7])
    ],
)
def test_every_way_to_run_convolutions_and_batch_norms(
    dense: int, wide: int, product: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dilated kernels on images that their grids divide, and on others."""
    monkeypatch.setattr(thresholds, "DENSE", dense)
    monkeypatch.setattr(thresholds, "NORM_WIDTH", wide)
    monkeypatch.setattr(thresholds, "PRODUCT", product)
    assert_equal(case(darts_cell(2, WITH_NONE), 4, 2, size=size))
    if size % 2 == 0:  # a strided skip needs that
        assert_equal(case(darts_cell(2, WITH_NONE), 4, 2, reduction=True, size=size))


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_what_goes_into_cells(affine: bool, running: bool) -> None:
    """Cells of different widths and one after a reduction read the same state."""
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


def any_cell(examples: int) -> settings:
    """Return the settings of a test that draws so many cells, the same ones each time."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@any_cell(10)
@given(given=cases())
def test_any_cell(given: Case) -> None:
    assert_equal(given)


@pytest.mark.long
@any_cell(40)
@given(given=cases())
def test_any_of_many_cells(given: Case) -> None:
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
