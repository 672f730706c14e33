"""Budgets: the forms of the penalty, the weight that grows, and the cheapest network."""

import itertools
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.func import functional_call

from nas_lightning.architecture.cost import network_cost
from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.spaces import DartsNetwork
from nas_lightning.strategies import EdgeNormalization, ResourcePenalty, WarmUp
from nas_lightning.strategies.relative_cost import Form
from tests.conftest import SPEC, SearchFactory, TrainerFactory

NETWORK = DartsNetwork(4, 3)
BUDGET = 2500
"""Parameters: the networks have 1,232 to 6,384."""


def penalised(form: Form = "hinge", budget: float = BUDGET, **more: Any) -> ResourcePenalty:
    return ResourcePenalty("parameters", budget, form, network=NETWORK, **more)


def spread(module: SearchModule, seed: int = 0) -> SearchModule:
    """Draw α and β that differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.arch.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
    return module


def relative(strategy: ResourcePenalty, module: SearchModule) -> tuple[float, float]:
    """R / R0 and D / R0; the second by counting the network itself."""
    with torch.no_grad():
        expected, _ = strategy.cost(module.arch)(module.arch())
    network = network_cost(NETWORK, module.genotype(), SPEC)
    return float(expected), network.parameters / BUDGET


@pytest.mark.parametrize("budget", [BUDGET, 3300, 6000])
@pytest.mark.parametrize("form", ["hinge", "target", "linear", "product"])
def test_each_form_in_closed_form(form: Form, budget: float, make_search: SearchFactory) -> None:
    strategy = penalised(form, budget, weight=0.3)
    module = spread(make_search([EdgeNormalization(), strategy])).double()
    r, counted = relative(strategy, module)
    d = counted * BUDGET / budget
    term = {
        "hinge": 0.3 * max(0.0, max(r, d) - 1),
        "target": 0.3 * abs(r - 1),
        "linear": 0.3 * r,
        "product": 5.0 * (r**0.3 - 1),
    }[form]
    outer = module.plan.outer_loss(torch.tensor(5.0, dtype=torch.float64), module.arch)
    assert float(outer.detach()) == pytest.approx(5 + term, rel=1e-12)


@pytest.mark.parametrize("form", ["hinge", "target", "linear", "product"])
def test_derivatives_in_alpha_and_beta_are_finite_differences(
    form: Form, make_search: SearchFactory
) -> None:
    strategy = penalised(form, weight=0.7)
    module = spread(make_search([EdgeNormalization(), strategy]), seed=2).double()
    r, d = relative(strategy, module)
    assert r > d  # so that the value of the hinge is that of R
    names = list(module.arch.named())
    loss = torch.tensor(2.0, dtype=torch.float64)

    def outer(*values: Tensor) -> Tensor:
        mixing = functional_call(module.arch, dict(zip(names, values, strict=True)), ())
        cost = strategy.cost(module.arch)
        expected, derived = cost(mixing)
        if form == "product":
            return cost.scaled(loss, expected)
        return cost.term(form, expected, derived)

    values = [value.detach().requires_grad_() for value in module.arch.named().values()]
    assert torch.autograd.gradcheck(outer, values, eps=1e-6, atol=1e-6, rtol=1e-6)
    by_hand = torch.autograd.grad(outer(*values), values)
    whole = module.plan.outer_loss(loss, module.arch)
    found = torch.autograd.grad(whole, list(module.arch.parameters()))
    for one, other in zip(by_hand, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert all(float(part.abs().max()) > 0 for part in found)


def test_the_hinge_pulls_while_the_derived_network_is_too_large(make_search: SearchFactory) -> None:
    strategy = penalised()
    module = make_search([strategy])
    with torch.no_grad():
        for alpha in module.arch.alpha.values():
            alpha.copy_(torch.tensor([[0.0, 0.0, 0.0, 0.3]]).expand(5, 4))  # sep_conv, barely
    strategy._amount = 5000.0  # between the expected and the derived cost
    r, counted = relative(strategy, module)
    d = counted * BUDGET / 5000
    assert r < 1 < d
    penalty = module.plan.penalty(module.arch)
    assert isinstance(penalty, Tensor)
    assert float(penalty.detach()) == pytest.approx(d - 1, rel=1e-5)
    linear = strategy.cost(module.arch)(module.arch())[0]
    parameters = list(module.arch.parameters())
    pairs = zip(
        torch.autograd.grad(penalty, parameters),
        torch.autograd.grad(linear, parameters),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one, other)


def fast(params: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.2)


def test_an_enormous_weight_finds_the_cheapest_network(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    strategy = penalised("linear", weight=1e6)
    module = make_search(
        [EdgeNormalization(), strategy],
        arch_optimizer=fast,
    )
    trainer = make_trainer(max_epochs=6, limit_val_batches=0)
    trainer.fit(module, datamodule=search_data)
    space = module.space
    cheapest = strategy.prices.fixed
    for cell in space.cells:  # exhaustive: the cells are charged independently
        costs = next(c.costs for c in strategy.prices.charges if c.kind == cell.kind)[:, 1:]
        pairs = (itertools.combinations(cell.incoming(node), 2) for node in cell.nodes)
        kept = ([row for pair in chosen for row in pair] for chosen in itertools.product(*pairs))
        cheapest += min(
            float(sum(costs[row, op] for row, op in zip(rows, ops, strict=True)))
            for rows in kept
            for ops in itertools.product(range(3), repeat=len(rows))
        )
    found = network_cost(NETWORK, module.genotype(), SPEC).parameters
    assert found == cheapest == 1232


class Weights(Callback):
    """Keeps the weight of the penalty in every epoch."""

    def __init__(self, strategy: ResourcePenalty) -> None:
        self.strategy, self.seen = strategy, list[float]()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        if trainer.fit_loop.batch_idx == 0:
            self.seen.append(float(self.strategy.cost(pl_module.arch).weight))


@pytest.mark.parametrize(
    ("budget", "form", "more", "seen"),
    [
        (1300, "hinge", {}, [0.5, 1, 2, 4]),
        (1300, "hinge", {"growth": 3}, [0.5, 1.5, 4.5, 13.5]),
        (1300, "hinge", {"warmup": 1}, [0, 0.5, 1, 2]),
        (1300, "linear", {"warmup": 2}, [0, 0, 0.5, 0.5]),
        (6300, "hinge", {}, [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_the_weight_grows_until_the_budget_is_met(
    budget: float,
    form: Form,
    more: dict[str, Any],
    seen: list[float],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
) -> None:
    strategy = penalised(form, budget, weight=0.5, **more)
    module, weights = make_search([strategy]), Weights(strategy)
    trainer = make_trainer(
        max_epochs=4, limit_train_batches=1, limit_val_batches=0, callbacks=[weights]
    )
    trainer.fit(module, datamodule=search_data)
    assert weights.seen == seen


def test_the_weight_does_not_grow_while_alpha_rests(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    strategy = penalised(budget=1300, weight=0.5)
    module, weights = make_search([WarmUp(2), strategy]), Weights(strategy)
    trainer = make_trainer(
        max_epochs=5, limit_train_batches=1, limit_val_batches=0, callbacks=[weights]
    )
    trainer.fit(module, datamodule=search_data)
    assert weights.seen == [0.5, 0.5, 0.5, 1, 2]


class KeepStep(SearchStrategy):
    """Keeps the last arch step."""

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.step = step


@pytest.mark.parametrize("form", ["linear", "product"])
def test_what_is_logged(
    form: Form, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    strategy, keep = penalised(form, weight=0.5), KeepStep()
    module = make_search([EdgeNormalization(), keep, strategy])
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=0)
    derived = network_cost(NETWORK, module.genotype(), SPEC).parameters
    trainer.fit(module, datamodule=search_data)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    before = {n: v.detach().requires_grad_() for n, v in keep.step.before.items()}
    cost = strategy.cost(module.arch)
    expected, _ = cost(functional_call(module.arch, before, ()))
    loss = logged["search/arch_loss"]
    added = 0.5 * expected if form == "linear" else loss * (expected**0.5 - 1)
    own = torch.autograd.grad(added, list(before.values()))
    rest = [g - part for g, part in zip(keep.step.gradients.values(), own, strict=True)]
    norms = [float(torch.cat([p.flatten() for p in parts]).norm()) for parts in (own, rest)]
    assert logged["budget/expected"] == pytest.approx(float(expected.detach()) * BUDGET, rel=1e-5)
    assert logged["budget/derived"] == derived
    assert logged["budget/penalty"] == pytest.approx(float(added.detach()), rel=1e-4)
    assert logged["budget/weight"] == 0.5
    assert logged["budget/gradient_ratio"] == pytest.approx(norms[0] / norms[1], rel=1e-3)
