"""Strategies around the weight step: its mixing weights, its gradients, and the supernet."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nas_lightning.search import WEIGHT_MIXING, SearchModule, SearchPlan, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.supernet import Mixing, Supernet
from tests.conftest import SPEC, quiet_trainer
from tests.recorded import data, search


def fitted(module: SearchModule) -> SearchModule:
    quiet_trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=1).fit(
        module, datamodule=data()
    )
    return module


class Equal(SearchStrategy):
    """The weight step runs with equal weights; keeps the losses that it evaluates."""

    def __init__(self, evaluate: bool = False) -> None:
        self.evaluate = evaluate
        self.seen: list[float] = []

    def configure(self, plan: SearchPlan) -> None:
        plan.fill(WEIGHT_MIXING, self.equal, by=self)

    def equal(self, mixing: Mixing, loss: Callable[[Mixing], Tensor]) -> Mixing:
        assert not any(weights.requires_grad for weights in mixing.ops.values())
        ops = {kind: torch.full_like(w, 1 / w.shape[1]) for kind, w in mixing.ops.items()}
        chosen = Mixing(ops, mixing.edges, mixing.active)
        if self.evaluate:
            self.seen += [loss(given).item() for given in (mixing, chosen, mixing)]
        return chosen


def test_the_weight_step_runs_with_the_mixing_of_the_slot() -> None:
    equal = search([Equal()])
    with torch.no_grad():
        for alpha in equal.arch.parameters():
            alpha.mul_(1000)
    seen: list[Mixing] = []
    hook = equal.supernet.with_auxiliary

    def watched(x: Tensor, mixing: Mixing) -> object:
        if torch.is_grad_enabled() and not mixing.ops["normal"].requires_grad:
            seen.append(mixing)  # of a weight step
        return hook(x, mixing)

    equal.supernet.with_auxiliary = watched  # type: ignore[method-assign, assignment]
    fitted(equal)
    assert len(seen) == 2
    for mixing in seen:
        for weights in mixing.ops.values():
            assert torch.equal(weights, torch.full_like(weights, 1 / weights.shape[1]))
    assert not torch.equal(equal.arch().ops["normal"], seen[0].ops["normal"])


@pytest.mark.parametrize("running_stats", [False, True])
def test_evaluations_leave_buffers_and_weights_alone(running_stats: bool) -> None:
    modules = []
    for evaluate in (False, True):
        torch.manual_seed(0)
        strategy = Equal(evaluate)
        supernet = DartsSupernet(8, 3, nodes=2, running_stats=running_stats)
        modules.append(fitted(SearchModule(SPEC, supernet, strategies=[strategy])))
    for name, value in modules[0].state_dict().items():
        assert torch.equal(value, modules[1].state_dict()[name]), name
    found = modules[1].strategies[0]
    assert isinstance(found, Equal)
    first, other, again = found.seen[:3]
    assert first == again != other


ALONE = "head.weight"


class LeaveAlone(SearchStrategy):
    """Removes the gradient of one weight in each step."""

    def on_weight_gradients(self, module: SearchModule) -> None:
        weights = dict(module.supernet.named_parameters())
        assert all(weight.grad is not None for weight in weights.values())
        weights[ALONE].grad = None


def test_a_weight_without_a_gradient_is_left_alone() -> None:
    start = search([LeaveAlone()])
    before = {name: value.clone() for name, value in start.supernet.named_parameters()}
    module = fitted(start)
    for name, value in module.supernet.named_parameters():
        assert torch.equal(value, before[name]) == (name == ALONE), name


class Halved(SearchStrategy):
    """Halves all weights of the supernet once it is built."""

    def configure(self, plan: SearchPlan) -> None:
        plan.alter_supernet(self.halved, by=self)

    @staticmethod
    def halved(supernet: Supernet) -> Supernet:
        with torch.no_grad():
            for weight in supernet.parameters():
                weight.mul_(0.5)
        return supernet


def test_a_supernet_is_altered_when_it_is_built() -> None:
    plain, halved = search([]), search([Halved()])
    for one, other in zip(plain.supernet.parameters(), halved.supernet.parameters(), strict=True):
        assert torch.equal(one / 2, other)
    assert "altered by Halved()" in halved.plan.describe()
