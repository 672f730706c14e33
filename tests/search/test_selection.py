"""The candidates that a genotype keeps: decided, and as probabilities."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas_lightning.architecture import Cell, SearchSpace, dense_edges, random_genotype
from nas_lightning.architecture.prices import candidates
from nas_lightning.search import one_hot, strongest_edges
from nas_lightning.search.selection import Selection, strongest, survival
from nas_lightning.spaces import DartsSpace, NasBench201Space, RecurrentSpace
from nas_lightning.supernet import Mixing, NodewiseSoftmax, SoftmaxOps

CPU = torch.device("cpu")


def three_of_many() -> SearchSpace:
    """A space whose nodes keep three of three, four and five edges."""
    return SearchSpace("three", [Cell("cell", 3, dense_edges(3, 3), ("none", "a", "b"))], 3)


SPACES = [DartsSpace(), NasBench201Space(), RecurrentSpace(4), three_of_many()]


def mixing_of(space: SearchSpace, seed: int, scale: float) -> Mixing:
    """Softmaxed weights of operations and edges."""
    generator = torch.Generator().manual_seed(seed)
    ops, edges = {}, {}
    for cell in space.cells:
        alpha = torch.randn(len(cell.edges), len(cell.primitives), generator=generator)
        ops[cell.kind] = SoftmaxOps().weights(scale * alpha.double())
        beta = scale * torch.randn(len(cell.edges), generator=generator).double()
        edges[cell.kind] = NodewiseSoftmax().weights(beta, cell, CPU)
    return Mixing(ops, edges)


@given(st.sampled_from(SPACES), st.integers(0, 2**31), st.floats(0.01, 1000))
@settings(max_examples=80, deadline=None)
def test_decided_candidates_are_those_of_the_genotype(
    space: SearchSpace, seed: int, scale: float
) -> None:
    mixing = mixing_of(space, seed, scale)
    found = Selection(space, CPU).decided(mixing)
    expected = candidates(strongest_edges(space, mixing))
    for kind in space.kinds:
        assert torch.equal(found[kind], expected[kind])


def by_enumeration(strengths: list[float], keep: int) -> list[float]:
    """Probabilities of the edges under sets whose weight is the product of their strengths."""
    sets = list(itertools.combinations(range(len(strengths)), min(keep, len(strengths))))
    weights = [math.prod(strengths[i] for i in chosen) for chosen in sets]
    return [
        sum(w for w, chosen in zip(weights, sets, strict=True) if i in chosen) / sum(weights)
        for i in range(len(strengths))
    ]


@given(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=6), st.integers(1, 4), st.floats(1e-9, 1e9)
)
@settings(max_examples=80, deadline=None)
def test_survival_is_the_enumeration_of_all_sets(
    strengths: list[float], keep: int, scale: float
) -> None:
    s = scale * torch.tensor([strengths], dtype=torch.float64)
    found = survival(s, torch.ones_like(s), keep)[0].tolist()
    assert found == pytest.approx(by_enumeration(strengths, keep), rel=1e-9)
    assert sum(found) == pytest.approx(min(keep, len(strengths)), rel=1e-9)


@pytest.mark.parametrize(
    ("strengths", "keep", "kept"),
    [
        ([0.5, 0.0, 0.5, 0.0], 2, [1, 0, 1, 0]),
        ([0.9, 0.0, 0.1, 0.0], 2, [1, 0, 1, 0]),  # however unequal
        ([0.0, 0.3, 0.0, 0.0], 2, [1, 1, 0, 0]),  # fewer than two: ties go to the lower index
        ([0.0, 0.0, 0.0], 2, [1, 1, 0]),
        ([0.2, 0.2, 0.2], 3, [1, 1, 1]),
        ([0.2], 2, [1]),
    ],
)
def test_survival_is_exact_where_the_strengths_decide(
    strengths: list[float], keep: int, kept: list[int]
) -> None:
    for dtype in (torch.float32, torch.float64):
        s = torch.tensor([strengths], dtype=dtype)
        assert survival(s, torch.ones_like(s), keep)[0].tolist() == kept
        assert strongest(s, torch.ones_like(s), keep)[0].tolist() == kept


@pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])
def test_one_hot_weights_are_kept_exactly(space: SearchSpace) -> None:
    for seed in range(5):
        genotype = random_genotype(space, seed)
        found = Selection(space, CPU).expected(one_hot(space, genotype, CPU))
        for kind, expected in candidates(genotype).items():
            assert torch.equal(found[kind].double(), expected)


@pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])
def test_sharper_weights_approach_the_genotype(space: SearchSpace) -> None:
    """With edges that are as sharp as operations: exactly k per node stay above the others."""
    genotype = random_genotype(space, 3)
    hot = one_hot(space, genotype, CPU)
    errors = []
    for scale in (3.0, 9.0, 27.0):
        ops = {kind: (scale * weights.double()).softmax(-1) for kind, weights in hot.ops.items()}
        edges = {
            cell.kind: NodewiseSoftmax().weights(scale * hot.edges[cell.kind].double(), cell, CPU)
            for cell in space.cells
        }
        found = Selection(space, CPU).expected(Mixing(ops, edges))
        errors.append(max(float((found[k] - candidates(genotype)[k]).abs().max()) for k in found))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_no_edge_counts_for_more_than_its_place() -> None:
    """A node that keeps 2 of 5 edges is charged for two of them at equal weights."""
    space = DartsSpace()
    equal = {kind: torch.full((14, 8), 1 / 8) for kind in space.kinds}
    found = Selection(space, CPU).expected(Mixing(equal, {k: torch.ones(14) for k in equal}))
    for kept in found.values():
        assert float(kept.sum()) == pytest.approx(8, rel=1e-6)
        assert float(kept[:, 0].abs().max()) == 0  # none
        assert float(kept[:2].sum()) == pytest.approx(2, rel=1e-6)
        assert float(kept[9:].sum()) == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])
def test_its_derivatives_are_finite_differences(space: SearchSpace) -> None:
    generator = torch.Generator().manual_seed(1)
    values = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for cell in space.cells
        for shape in ((len(cell.edges), len(cell.primitives)), (len(cell.edges),))
    ]
    costs = [torch.rand(value.shape, generator=generator).double() for value in values[::2]]
    selection = Selection(space, CPU)

    def total(*values: Tensor) -> Tensor:
        pairs = list(zip(space.cells, values[::2], values[1::2], strict=True))
        ops = {cell.kind: alpha.softmax(-1) for cell, alpha, _ in pairs}
        edges = {cell.kind: NodewiseSoftmax().weights(beta, cell, CPU) for cell, _, beta in pairs}
        found = selection.expected(Mixing(ops, edges))
        return torch.stack(
            [(found[cell.kind] * cost).sum() for cell, cost in zip(space.cells, costs, strict=True)]
        ).sum()

    assert torch.autograd.gradcheck(total, values, eps=1e-6, atol=1e-6, rtol=1e-6)


def test_weights_that_underflow_keep_finite_gradients() -> None:
    space = DartsSpace()
    alpha = torch.zeros(14, 8)
    alpha[:, 0] = 500.0  # `none` takes everything: the others are 0 in single precision
    alpha.requires_grad_()
    ops = {kind: alpha.softmax(-1) for kind in space.kinds}
    mixing = Mixing(ops, {kind: torch.ones(14) for kind in space.kinds})
    found = Selection(space, CPU).expected(mixing)
    total = torch.stack([(kept * torch.arange(8.0)).sum() for kept in found.values()]).sum()
    (gradient,) = torch.autograd.grad(total, alpha)
    assert gradient.isfinite().all()
    expected = candidates(strongest_edges(space, mixing))
    for kind in space.kinds:
        assert torch.equal(found[kind].detach().double(), expected[kind])
