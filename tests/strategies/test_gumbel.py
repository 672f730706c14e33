"""Gumbel sampling: the draws, their gradient, their timing, and combinations with others."""

from typing import Any

import pytest
import torch

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    AmendedGradient,
    ExponentiatedGradient,
    FairDARTS,
    SingleLevel,
    Unrolled,
)
from nas_lightning.strategies.gumbel import GumbelSoftmax, HardGumbel
from nas_lightning.supernet import OpRelaxation, SimplexOps, SoftmaxOps
from tests.conftest import SearchFactory, TrainerFactory

ALPHA = torch.tensor([0.3, -1.0, 1.2, 0.0, 0.5], dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", [GumbelSoftmax, HardGumbel])
@pytest.mark.parametrize("inner", [SoftmaxOps(), SimplexOps()])
@pytest.mark.parametrize("temperature", [10.0, 0.1])
def test_the_largest_entry_is_drawn_by_its_probability(
    kind: type[GumbelSoftmax], inner: OpRelaxation, temperature: float
) -> None:
    """Chi-square with four degrees of freedom: 18.5 is exceeded once in a thousand seeds."""
    probabilities = ALPHA.softmax(0)
    alpha = ALPHA if isinstance(inner, SoftmaxOps) else probabilities
    draws = kind(inner, temperature).draw(alpha.expand(20_000, 5), seeded())
    counts = torch.bincount(draws.argmax(dim=1), minlength=5)
    expected = 20_000 * probabilities
    assert float(((counts - expected).square() / expected).sum()) < 18.5


def test_a_soft_draw_is_of_the_concrete_distribution() -> None:
    """Of two operations the log odds of a draw, times τ, are those of p plus logistic noise."""
    tau, number = 0.7, 20_000
    alpha = torch.tensor([0.4, -0.8], dtype=torch.float64)
    draws = GumbelSoftmax(SoftmaxOps(), tau).draw(alpha.expand(number, 2), seeded())
    noise = tau * torch.logit(draws[:, 0]) - 1.2
    found = noise.sort().values.sigmoid()  # the logistic distribution function
    uniform = (torch.arange(number) + 0.5) / number
    # Kolmogorov and Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand seeds
    assert float((found - uniform).abs().max()) < 1.95 / number**0.5


def test_a_low_temperature_gives_the_hard_draw() -> None:
    alpha = ALPHA.expand(1000, 5)
    hard = HardGumbel(SoftmaxOps(), 1.0).draw(alpha, seeded())
    gaps = []
    for tau in (1.0, 0.1, 1e-3):
        soft = GumbelSoftmax(SoftmaxOps(), tau).draw(alpha, seeded())
        gaps.append(float((soft - hard).abs().sum(dim=1).mean()))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01  # the rest are near ties


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_hard_draw_is_exactly_one_hot_with_the_gradient_of_the_soft_one(
    dtype: torch.dtype,
) -> None:
    alpha = ALPHA.to(dtype).repeat(200, 1).requires_grad_()
    cotangent = torch.randn(200, 5, generator=seeded(1)).to(dtype)
    soft = GumbelSoftmax(SoftmaxOps(), 0.5).draw(alpha, seeded())
    hard = HardGumbel(SoftmaxOps(), 0.5).draw(alpha, seeded())
    assert torch.equal(hard.detach().sort(dim=1).values, torch.eye(5, dtype=dtype)[[4] * 200])
    assert torch.equal(hard.argmax(dim=1), soft.argmax(dim=1))
    (of_soft,) = torch.autograd.grad(soft, alpha, cotangent)
    (of_hard,) = torch.autograd.grad(hard, alpha, cotangent)
    assert torch.equal(of_hard, of_soft)


def test_the_weight_of_the_drawn_operation_teaches_all_of_its_edge() -> None:
    """Only its output enters the loss; the released code adds the others' zeros as constants."""
    alpha = ALPHA.repeat(50, 1).requires_grad_()
    weights = HardGumbel(SoftmaxOps(), 1.0).draw(alpha, seeded())
    drawn = weights.detach().argmax(dim=1, keepdim=True)
    (gradient,) = torch.autograd.grad(weights.gather(1, drawn).sum(), alpha)
    assert gradient.abs().min() > 0
    # the drawn operation's α has the opposite sign of all others'
    assert torch.all((gradient > 0) == (weights.detach() == 1))


@pytest.mark.parametrize("kind", [GumbelSoftmax, HardGumbel])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("temperature", [10.0, 0.03])
def test_extreme_parameters_give_finite_draws_and_gradients(
    kind: type[GumbelSoftmax], scale: float, temperature: float
) -> None:
    alpha = (scale * torch.randn(500, 5, generator=seeded())).requires_grad_()
    weights = kind(SoftmaxOps(), temperature).draw(alpha, seeded(1))
    (gradient,) = torch.autograd.grad(weights, alpha, torch.randn(500, 5, generator=seeded(2)))
    assert weights.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(weights.detach().sum(dim=1), torch.ones(500))


class Draws(SearchStrategy):
    """Keeps which operations each pass of the supernet ran, batch by batch.

    All passes come through `with_auxiliary`.
    """

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def allow_arch_step(self, module: SearchModule) -> bool:
        if not self.batches:
            inner = module.supernet.with_auxiliary

            def watched(x: Any, mixing: Any) -> Any:
                self.batches[-1].append(mixing.active)
                return inner(x, mixing)

            module.supernet.with_auxiliary = watched  # type: ignore[method-assign]
        self.batches.append([])
        return True


@pytest.mark.parametrize(
    ("estimator", "passes"),
    [(None, 1), (Unrolled(), 4), (AmendedGradient(), 5), (AmendedGradient(exact=True), 2)],
)
def test_an_architecture_step_sees_one_draw_and_the_next_batch_another(
    estimator: SearchStrategy | None,
    passes: int,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    draws = Draws()
    strategies = [GDAS(), draws] + ([] if estimator is None else [estimator])
    make_trainer(limit_val_batches=0).fit(make_search(strategies), datamodule=search_data)
    assert [len(batch) for batch in draws.batches] == [passes + 1] * 4  # and the weight step
    for batch in draws.batches:
        assert all(active == batch[0] for active in batch[:passes])
        assert batch[passes] != batch[0]
        assert all(len(edge) == 1 for edges in batch[0].values() for edge in edges)
    assert len({str(batch[0]) for batch in draws.batches}) == 4


class Gradients(SearchStrategy):
    """Keeps the architecture gradients."""

    def __init__(self) -> None:
        self.steps: list[ArchStep] = []

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.steps.append(step)


@pytest.mark.parametrize("strategies", [(GDAS(),), (GDAS(), ExponentiatedGradient())])
def test_in_a_search_edges_learn_as_a_whole(
    strategies: tuple[SearchStrategy, ...],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    """All α of an edge get a gradient, or none does, because `none` was drawn there."""
    watch = Gradients()
    module = make_search([*strategies, watch])
    make_trainer(limit_val_batches=0).fit(module, datamodule=search_data)
    silent = torch.cat([g == 0 for step in watch.steps for g in step.gradients.values()])
    assert torch.equal(silent.any(dim=1), silent.all(dim=1))
    assert 0 < int(silent[:, 0].sum()) < len(silent) / 2  # a quarter, about
    if len(strategies) == 2:
        for alpha in module.arch.alpha.values():
            torch.testing.assert_close(alpha.detach().sum(dim=1), torch.ones(5))


def test_validation_and_genotype_read_the_probabilities(make_search: SearchFactory) -> None:
    module, plain = make_search([GDAS()]), make_search([])
    for kind in module.space.kinds:
        assert torch.equal(module.arch().ops[kind], plain.arch().ops[kind])
    assert module.genotype() == plain.genotype()
    on_simplex = make_search([SNAS(), ExponentiatedGradient()])
    assert torch.equal(on_simplex.arch().ops["normal"].detach(), torch.full((5, 4), 0.25))


def test_a_single_level_search_learns_from_the_batch_of_the_weights(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """The first architecture gradient is that of the weight half's loss, computed here again."""
    watch = Gradients()
    module = make_search([SingleLevel(), watch])
    search_data.setup("fit")
    images, labels = next(iter(search_data.train_dataloader()))[0]["train"]
    loss = torch.nn.functional.cross_entropy(module.supernet(images, module.arch()), labels)
    expected = torch.autograd.grad(loss, list(module.arch.parameters()))
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(module, datamodule=search_data)
    for found, wanted in zip(watch.steps[0].gradients.values(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("strategies", "names"),
    [
        ((GDAS(), SNAS()), "GDAS and SNAS"),
        ((SNAS(), FairDARTS()), "SNAS and FairDARTS"),
        ((FairDARTS(), GDAS()), "FairDARTS and GDAS"),
    ],
)
def test_what_cannot_go_together_is_refused(
    strategies: tuple[SearchStrategy, ...], names: str, make_search: SearchFactory
) -> None:
    with pytest.raises(UsageError, match=f"{names} both decide the operation sampling"):
        make_search(strategies)


def test_several_processes_must_be_told_of_unused_weights(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "nas_lightning.search.checks.finds_unused_parameters", lambda trainer: False
    )
    with pytest.raises(UsageError, match="GDAS leaves weights without a gradient"):
        make_trainer().fit(make_search([GDAS()]), datamodule=search_data)
    make_trainer(limit_train_batches=1, limit_val_batches=0).fit(
        make_search([SNAS()]), datamodule=search_data
    )
