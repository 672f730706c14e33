"""Binary gates: the draws, the gradient of two paths, the rescaling, and what runs in each step."""

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.architecture import Cell, Edge
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchPlan, SearchStrategy
from nas_lightning.spaces import ChoiceSupernet
from nas_lightning.strategies import (
    GDAS,
    AmendedGradient,
    BinaryGates,
    ExponentiatedGradient,
    FairDARTS,
    Unrolled,
)
from nas_lightning.strategies.binary_gates import BinaryGateOps
from nas_lightning.supernet import ArchitectureParameters, SoftmaxOps
from tests.conftest import SPEC, SearchFactory, TrainerFactory
from tests.strategies.test_gumbel import Draws

ALPHA = torch.tensor([0.3, -1.0, 1.2, 0.0, 0.5], dtype=torch.float64)
NUMBER = 20_000


def cell(edges: int, operations: int = 5) -> Cell:
    names = tuple(f"op_{m}" for m in range(operations))
    return Cell("cell", edges, tuple(Edge(0, node + 1) for node in range(edges)), names)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chi_square(counts: Tensor, probabilities: Tensor) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected).square() / expected).sum())


def test_the_weight_step_runs_one_operation_by_its_probability() -> None:
    """Chi-square with four degrees of freedom: 18.5 is exceeded once in a thousand seeds."""
    alpha = ALPHA.expand(NUMBER, 5).clone().requires_grad_()
    found = BinaryGateOps(SoftmaxOps()).sample(cell(NUMBER), alpha, seeded(), "weight")
    assert found.active is not None
    drawn = torch.tensor(found.active)
    assert drawn.shape == (NUMBER, 1)
    assert torch.equal(found.weights, F.one_hot(drawn[:, 0], 5).double())
    assert not found.weights.requires_grad
    counts = torch.bincount(drawn[:, 0], minlength=5)
    assert chi_square(counts, ALPHA.softmax(0)) < 18.5


def test_the_architecture_step_draws_pairs_without_replacement_and_opens_one_by_its_share() -> None:
    """Twenty outcomes: nineteen degrees of freedom, 43.8 is exceeded once in a thousand seeds."""
    found = BinaryGateOps(SoftmaxOps()).sample(
        cell(NUMBER), ALPHA.expand(NUMBER, 5), seeded(), "arch"
    )
    assert found.active is not None
    opened = found.weights.argmax(dim=1).tolist()
    assert torch.equal(found.weights, F.one_hot(torch.tensor(opened), 5).double())
    counts = Counter(zip(found.active, opened, strict=True))
    p = ALPHA.softmax(0)
    outcomes, probabilities = [], []
    for i, j in itertools.combinations(range(5), 2):
        of_pair = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        for opens in (i, j):
            outcomes.append(counts[(i, j), opens])
            probabilities.append(of_pair * p[opens] / (p[i] + p[j]))
    assert sum(outcomes) == NUMBER
    assert float(sum(probabilities)) == pytest.approx(1)
    assert chi_square(torch.tensor(outcomes), torch.stack(probabilities)) < 43.8


def test_the_gradient_is_that_of_the_published_equation_for_every_pair() -> None:
    """A nonlinear loss of nonlinear paths; every outcome of two gates out of five is met."""
    x = torch.randn(7, dtype=torch.float64, generator=seeded(1))
    paths = [x.sin(), x.tanh(), 2 * x, x.square(), torch.zeros_like(x)]
    seen = set()
    for seed in range(500):
        alpha = ALPHA[None].clone().requires_grad_()
        found = BinaryGateOps(SoftmaxOps()).sample(cell(1), alpha, seeded(seed), "arch")
        assert found.active is not None
        (pair,) = found.active
        opened = int(found.weights.argmax())
        y = sum((found.weights[0, m] * paths[m] for m in pair), torch.zeros_like(x))
        assert torch.equal(y, paths[opened])
        (gradient,) = torch.autograd.grad((y.exp() - y).sum(), alpha)
        of_output = paths[opened].exp() - 1
        q = ALPHA[list(pair)].softmax(0)
        expected = torch.zeros(5, dtype=torch.float64)
        for row, i in enumerate(pair):
            for column, j in enumerate(pair):
                of_gate = (of_output * paths[j]).sum()
                expected[i] += of_gate * q[column] * (float(row == column) - q[row])
        torch.testing.assert_close(gradient[0], expected, rtol=1e-12, atol=1e-12)
        seen.add((pair, opened))
    assert len(seen) == 20


def test_the_slope_along_a_pair_is_the_derivative_at_constant_other_probabilities() -> None:
    """Against a central difference of the expected cost of an operation."""
    costs = torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0], dtype=torch.float64)
    gates = BinaryGateOps(SoftmaxOps())
    for seed in range(5):
        alpha = ALPHA[None].clone().requires_grad_()
        gates.sample(cell(1), alpha, seeded(seed), "arch")
        i, j = gates.pairs["cell"][0].tolist()
        (dense,) = torch.autograd.grad((alpha.softmax(-1) @ costs).sum(), alpha)
        assert int((dense != 0).sum()) == 5
        slope = gates.along_pair("cell", alpha, dense)[0]
        assert slope.nonzero().flatten().tolist() == [i, j]
        assert slope[i] == -slope[j]
        values = []
        for move in (1e-5, -1e-5):
            moved = ALPHA[None].clone()
            moved[0, i] += move
            moved = gates.rescaled("cell", ALPHA[None], moved)
            torch.testing.assert_close(moved[0, i] - moved[0, j], ALPHA[i] + move - ALPHA[j])
            values.append(moved.softmax(-1)[0] @ costs)
        torch.testing.assert_close(slope[i], (values[0] - values[1]) / 2e-5, rtol=1e-8, atol=1e-9)


class Dense(SearchStrategy):
    """A penalty with a gradient for every α, and the probabilities before and after each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[ArchStep, dict[str, Tensor], dict[str, Tensor]]] = []

    def configure(self, plan: SearchPlan) -> None:
        plan.add_penalty(self.cost, by=self)

    @staticmethod
    def cost(arch: ArchitectureParameters) -> Tensor:
        terms = [ops @ torch.arange(ops.shape[1]).to(ops) for ops in arch().ops.values()]
        return torch.cat(terms).sum()

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        assert isinstance(module.arch.ops, BinaryGateOps)
        now = {n: p.detach().clone() for n, p in module.arch.named().items()}
        self.steps.append((step, now, dict(module.arch.ops.pairs)))


@pytest.mark.parametrize("estimator", [None, Unrolled(), AmendedGradient()])
def test_in_a_search_only_the_drawn_pair_changes(
    estimator: SearchStrategy | None,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """With DARTS' Adam, whose momentum and weight decay move every α."""
    watch = Dense()
    extra = [] if estimator is None else [estimator]
    module = make_search([*extra, BinaryGates(), watch])
    trainer = make_trainer(precision="64-true", limit_val_batches=0, max_epochs=2)
    trainer.fit(module, datamodule=search_data)
    assert len(watch.steps) == 8
    moved_by_adam = False
    for step, now, pairs in watch.steps:
        for kind in module.space.kinds:
            name = f"alpha.{kind}"
            drawn = F.one_hot(pairs[kind], 4).sum(dim=1).bool()
            before, after = step.before[name], now[name]
            assert torch.equal(before[~drawn], after[~drawn])
            change = (after.softmax(-1) - before.softmax(-1)).abs()
            assert float(change[~drawn].max()) < 1e-12
            assert float(change[drawn].min()) > 1e-9
            assert torch.equal(step.gradients[name] == 0, ~drawn)
            moved_by_adam |= not torch.equal(step.after[name][~drawn], before[~drawn])
    assert moved_by_adam


@pytest.mark.parametrize(
    ("estimator", "passes"), [(None, 1), (Unrolled(), 4), (AmendedGradient(), 5)]
)
def test_a_step_of_alpha_sees_one_pair_and_the_weights_one_operation(
    estimator: SearchStrategy | None,
    passes: int,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    draws = Draws()
    strategies = [BinaryGates(), draws] + ([] if estimator is None else [estimator])
    make_trainer(limit_val_batches=0).fit(make_search(strategies), datamodule=search_data)
    assert [len(batch) for batch in draws.batches] == [passes + 1] * 4
    for batch in draws.batches:
        assert all(active == batch[0] for active in batch[:passes])
        assert {len(edge) for edges in batch[0].values() for edge in edges} == {2}
        assert {len(edge) for edges in batch[passes].values() for edge in edges} == {1}
    assert len({str(batch[0]) for batch in draws.batches}) == 4


class Batches(SearchStrategy):
    """Keeps the batches in which α was stepped."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.seen.append(module.trainer.fit_loop.batch_idx)


def test_alpha_is_stepped_in_the_last_of_every_few_batches(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Four batches an epoch: the third of each, and none in the fourth."""
    watch = Batches()
    trainer = make_trainer(limit_val_batches=0, max_epochs=2)
    trainer.fit(make_search([BinaryGates(every=3), watch]), datamodule=search_data)
    assert watch.seen == [2, 2]


def test_only_the_drawn_candidates_of_a_network_run(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Calls of the two kernels of two blocks that share α: one each for the weights, two for α."""
    supernet = ChoiceSupernet("tests.spaces.choice.networks.Chain", {"width": 4})
    module = SearchModule(SPEC, supernet, strategies=[BinaryGates()])
    calls: list[tuple[str, str]] = []
    blocks: Any = module.supernet.get_submodule("network.blocks")
    for row, block in enumerate(blocks):
        for name, candidate in block.candidates.items():
            candidate.register_forward_hook(
                lambda *_, row=row, name=name: calls.append((f"block {row}", name))
            )
    make_trainer(limit_val_batches=0).fit(module, datamodule=search_data)
    assert len(calls) == 4 * 2 * (2 + 1)
    for start in range(0, len(calls), 6):
        batch = tuple(calls[start : start + 6])
        assert batch[:4] == tuple(itertools.product(("block 0", "block 1"), ("k1", "k3")))
        assert batch[4][1] == batch[5][1]


def test_a_single_operation_is_always_open() -> None:
    gates, alpha = BinaryGateOps(SoftmaxOps()), torch.zeros(3, 1, requires_grad=True)
    for step in ("weight", "arch"):
        found = gates.sample(cell(3, 1), alpha, seeded(), step)
        assert found.active == ((0,),) * 3
        assert torch.equal(found.weights, torch.ones(3, 1))
    assert torch.equal(gates.along_pair("cell", alpha, torch.ones(3, 1)), torch.zeros(3, 1))


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_parameters_give_finite_draws_and_gradients(scale: float) -> None:
    alpha = (scale * torch.randn(500, 5, generator=seeded())).requires_grad_()
    gates = BinaryGateOps(SoftmaxOps())
    weights = gates.sample(cell(500), alpha, seeded(1), "arch").weights
    (gradient,) = torch.autograd.grad(weights, alpha, torch.randn(500, 5, generator=seeded(2)))
    assert weights.isfinite().all()
    assert gradient.isfinite().all()
    start = alpha.detach()
    assert gates.rescaled("cell", start, start - 1e-3 * gradient).isfinite().all()


def test_validation_and_genotype_read_the_probabilities(make_search: SearchFactory) -> None:
    module, plain = make_search([BinaryGates()]), make_search([])
    for kind in module.space.kinds:
        assert torch.equal(module.arch().ops[kind], plain.arch().ops[kind])
    assert module.genotype() == plain.genotype()


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (
            (ExponentiatedGradient(), BinaryGates()),
            "ExponentiatedGradient and BinaryGates both decide the operation relaxation",
        ),
        (
            (BinaryGates(), FairDARTS()),
            "BinaryGates and FairDARTS both decide the operation relaxation",
        ),
        ((GDAS(), BinaryGates()), "GDAS and BinaryGates both decide the operation sampling"),
    ],
)
def test_what_cannot_go_together_is_refused(
    strategies: tuple[SearchStrategy, ...], message: str, make_search: SearchFactory
) -> None:
    with pytest.raises(UsageError, match=message):
        make_search(strategies)
