"""β-DARTS: the penalty in closed form, its schedule, and what it leaves alone."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.strategies import BetaDecay, BinaryGates, ExponentiatedGradient, FairDARTS
from tests.conftest import SearchFactory
from tests.recorded import EXACT, run, same


class Watched(SearchStrategy):
    """Keeps the penalty over the mean of log Σ exp α in each batch, which is λ."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        with torch.no_grad():
            rows = torch.cat([alpha.logsumexp(-1) for alpha in pl_module.arch.alpha.values()])
            self.seen.append(float(pl_module.plan.penalty(pl_module.arch) / rows.mean()))


def test_its_gradient_is_the_softmax_over_the_number_of_edges(make_search: SearchFactory) -> None:
    decay = BetaDecay()
    arch = make_search([decay]).arch.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for alpha in arch.alpha.values():
            alpha.normal_(generator=generator)
    decay._now = torch.tensor(1.5, dtype=torch.float64)
    found = torch.autograd.grad(decay.penalty(arch), list(arch.alpha.values()))
    for gradient, alpha in zip(found, arch.alpha.values(), strict=True):
        # two kinds of five edges
        torch.testing.assert_close(
            gradient, 1.5 * alpha.detach().softmax(-1) / 10, rtol=1e-14, atol=0
        )


class Removed(SearchStrategy):
    """Removes the last operation of every normal edge, and more on the first two."""

    def configure(self, plan: SearchPlan) -> None:
        mask = torch.ones(5, 4, dtype=torch.bool)
        mask[:, -1] = False
        mask[0, 1:] = False  # one survivor
        mask[1] = False  # none
        plan.keep_operations({"normal": mask}, by=self)


def test_only_operations_that_still_run_count(make_search: SearchFactory) -> None:
    """And only edges with something to learn: three normal ones, and five that reduce."""
    decay = BetaDecay()
    arch = make_search([decay, Removed()]).arch.double()
    with torch.no_grad():
        arch.alpha["normal"].copy_(torch.arange(20, dtype=torch.float64).view(5, 4) / 10)
    decay._now = torch.tensor(1.5, dtype=torch.float64)
    names = list(arch.alpha)
    found = torch.autograd.grad(decay.penalty(arch), [arch.alpha[name] for name in names])
    gradients = dict(zip(names, found, strict=True))
    expected = torch.zeros(5, 4, dtype=torch.float64)
    expected[2:, :3] = 1.5 * arch.alpha["normal"].detach()[2:, :3].softmax(-1) / 8
    torch.testing.assert_close(gradients["normal"], expected, rtol=1e-14, atol=0)
    rows = arch.alpha["reduce"].detach().softmax(-1)
    torch.testing.assert_close(gradients["reduce"], 1.5 * rows / 8, rtol=1e-14, atol=0)


def test_lambda_grows_linearly_from_zero(tmp_path: Path) -> None:
    watched = Watched()
    settings = {"max_epochs": 4, "limit_train_batches": 1, "limit_val_batches": 0}
    run([BetaDecay(8.0), watched], tmp_path, **settings)
    assert watched.seen == pytest.approx([0, 2, 4, 6], rel=1e-12, abs=0)


def test_without_weight_the_search_is_that_of_darts(tmp_path: Path) -> None:
    traces = [run(strategies, tmp_path).trace for strategies in ([], [BetaDecay(0.0)])]
    assert same(*traces)


def test_in_the_first_epoch_it_is_that_of_darts(tmp_path: Path) -> None:
    first, second = (run(strategies, tmp_path).trace for strategies in ([], [BetaDecay()]))
    batches = len(first) // EXACT["max_epochs"]
    assert same(first[:batches], second[:batches])
    assert not same(first, second)


@pytest.mark.parametrize("weight", [25.0, 50.0, 100.0])
def test_equal_operations_stay_equal_and_others_come_closer(
    weight: float, make_search: SearchFactory
) -> None:
    decay = BetaDecay()
    arch = make_search([decay]).arch.double()
    decay._now = torch.tensor(weight, dtype=torch.float64)
    with torch.no_grad():
        arch.alpha["normal"].fill_(0.3)
        arch.alpha["reduce"].copy_(torch.tensor([0.1, 0.5, -0.2, 0.1]).expand(5, 4))
    before = arch().detach()
    values = list(arch.parameters())
    gradients = torch.autograd.grad(decay.penalty(arch), values)
    with torch.no_grad():
        for value, gradient in zip(values, gradients, strict=True):
            value.sub_(gradient, alpha=0.1)
    after = arch()
    torch.testing.assert_close(after.ops["normal"], before.ops["normal"], rtol=1e-14, atol=0)
    first, second = before.ops["reduce"], after.ops["reduce"]
    assert torch.equal(first.argsort(stable=True), second.argsort(stable=True))
    assert bool((second.var(dim=1) < first.var(dim=1)).all())


@pytest.mark.parametrize("other", [ExponentiatedGradient(), FairDARTS(), BinaryGates()])
def test_relaxations_other_than_the_softmax_are_refused(
    other: SearchStrategy, make_search: SearchFactory
) -> None:
    name = type(other).__name__
    with pytest.raises(UsageError, match=rf"conflicting strategies: BetaDecay and {name} both"):
        make_search([BetaDecay(), other])
