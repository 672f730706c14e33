"""Λ and its derivative against other computations; gradients of single cells; nothing changes."""

import itertools
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nas_lightning.search.agreement import (
    CellGradients,
    agreement,
    agreement_slope,
    sign_agreement,
    sign_agreement_slope,
)
from nas_lightning.spaces import DartsSupernet, NasBench201Supernet
from nas_lightning.supernet import CellExecution, Mixing
from nas_lightning.supernet.reference import reference_cell
from tests.conftest import PRIMITIVES, SPEC


def vectors(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 12, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_it_is_the_mean_cosine_of_all_pairs(count: int) -> None:
    rows = vectors(count)
    pairs = [F.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(rows, 2)]
    torch.testing.assert_close(agreement(rows), torch.stack(pairs).mean(), rtol=1e-13, atol=0)


def test_equal_cells_agree_and_opposite_ones_do_not() -> None:
    row = vectors(1)
    assert float(agreement(torch.cat([row, row, 3 * row]))) == pytest.approx(1, abs=1e-14)
    assert float(agreement(torch.cat([row, -row]))) == pytest.approx(-1, abs=1e-14)
    tiny = torch.full((3, 5), 1e-15)  # lengths that a usual lower limit would swallow
    assert float(agreement(tiny)) == pytest.approx(1, abs=1e-6)


def signs_by_hand(rows: torch.Tensor) -> torch.Tensor:
    """Λ± by its definition: 1 for each entry of equal signs and -1 for others, weighted."""
    shares = []
    for a, b in itertools.combinations(rows, 2):
        weights = (a * b).abs()
        equal = torch.where((a > 0) == (b > 0), 1.0, -1.0)
        shares.append((weights * equal).sum() / weights.sum())
    return torch.stack(shares).mean()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_signs_are_counted_with_their_weights(count: int) -> None:
    rows = vectors(count)
    torch.testing.assert_close(sign_agreement(rows), signs_by_hand(rows), rtol=1e-13, atol=1e-15)


def test_signs_may_agree_where_directions_do_not() -> None:
    rows = torch.tensor([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0]])
    assert float(sign_agreement(rows)) == pytest.approx(1)
    assert float(agreement(rows)) == pytest.approx(0.6)
    assert not sign_agreement_slope(rows).abs().max() > 1e-7  # nothing to gain
    apart = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # no entry in common
    assert float(sign_agreement(apart)) == 0
    assert not sign_agreement_slope(apart).any()


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(
    ("measure", "slope"),
    [(agreement, agreement_slope), (signs_by_hand, sign_agreement_slope)],
    ids=["cosine", "signs"],
)
def test_its_slope_is_that_of_autograd(count: int, measure: Any, slope: Any) -> None:
    rows = vectors(count).requires_grad_()
    (expected,) = torch.autograd.grad(measure(rows), rows)
    torch.testing.assert_close(slope(rows.detach()), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("measure", "slope"),
    [(agreement, agreement_slope), (sign_agreement, sign_agreement_slope)],
    ids=["cosine", "signs"],
)
def test_a_cell_without_a_gradient_counts_as_zero(measure: Any, slope: Any) -> None:
    rows = torch.stack([torch.zeros(12, dtype=torch.float64), *vectors(2)])
    torch.testing.assert_close(measure(rows), measure(rows[1:]) / 3, rtol=1e-14, atol=0)
    assert torch.equal(slope(rows)[0], torch.zeros(12, dtype=torch.float64))


def weights(factory: Any) -> Mixing:
    """Random weights that learn, equal edges."""
    generator = torch.Generator().manual_seed(1)
    ops, edges = {}, {}
    for cell in factory.space.cells:
        shape = len(cell.edges), len(cell.primitives)
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
        ops[cell.kind] = drawn.requires_grad_()
        edges[cell.kind] = torch.ones(len(cell.edges), dtype=torch.float64)
    return Mixing(ops, edges)


@pytest.mark.parametrize(
    "execution",
    [CellExecution(), CellExecution(checkpoint=True), CellExecution(cell=reference_cell)],
    ids=str,
)
def test_the_gradients_are_those_of_cells_with_their_own_weights(execution: CellExecution) -> None:
    """Against the supernet that searches every cell individually, with the same weights."""
    sizes: dict[str, Any] = {"channels": 4, "layers": 5, "nodes": 2, "primitives": PRIMITIVES}
    shared, single = DartsSupernet(**sizes), DartsSupernet(**sizes, individual=True)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    nets = [factory.build(SPEC, 1, execution=execution).double() for factory in (shared, single)]
    nets[1].load_state_dict(nets[0].state_dict())
    mixing = weights(shared)
    layers = zip(single.space.kinds, nets[0].kinds, strict=True)
    own = {name: mixing.ops[kind].detach().clone().requires_grad_() for name, kind in layers}
    ones = {name: torch.ones(5, dtype=torch.float64) for name in own}
    loss = nets[1](x, Mixing(own, ones)).square().sum()
    expected = torch.autograd.grad(loss, list(own.values()))
    gradients = CellGradients(nets[0].cell_counts)
    output = nets[0](x, gradients.watched(mixing))
    assert gradients.by_kind() == {}
    total = torch.autograd.grad(output.square().sum(), list(mixing.ops.values()))
    found = gradients.by_kind()
    assert {kind: len(rows) for kind, rows in found.items()} == {"normal": 3, "reduce": 2}
    for kind, of_kind in zip(mixing.ops, total, strict=True):
        mine = [g for g, k in zip(expected, nets[0].kinds, strict=True) if k == kind]
        rows = torch.stack([g.flatten() for g in mine])
        torch.testing.assert_close(found[kind], rows, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[kind].sum(0), of_kind.flatten(), rtol=1e-9, atol=1e-12)


def test_cells_of_nas_bench_201_have_their_own_weights() -> None:
    factory = NasBench201Supernet(channels=4, cells=1)
    net = factory.build(SPEC, 1).double()
    mixing = weights(factory)
    own = {"cell": tuple(mixing.ops["cell"].detach().clone().requires_grad_() for _ in range(3))}
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    output = net(x, Mixing(mixing.ops, mixing.edges, {}, own))
    torch.testing.assert_close(output, net(x, mixing))
    expected = torch.autograd.grad(output.sum(), own["cell"])
    gradients = CellGradients(net.cell_counts)
    torch.autograd.grad(net(x, gradients.watched(mixing)).sum(), mixing.ops["cell"])
    rows = torch.stack([g.flatten() for g in expected])
    torch.testing.assert_close(gradients.by_kind()["cell"], rows, rtol=1e-9, atol=1e-12)
