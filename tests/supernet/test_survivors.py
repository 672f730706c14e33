"""Operations that are removed for good: weights, gradients, samples, cost, and checkpoints."""

from collections.abc import Sequence
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.strategies import GDAS, SNAS, BinaryGates, ExponentiatedGradient, FairDARTS
from nas_lightning.supernet import ArchitectureParameters, reference_cell
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.recorded import data, search

EDGES, OPS = 5, 4  # of tiny_supernet
KEPT = torch.tensor(
    [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool
)


class Keep(SearchStrategy):
    """Keeps the operations of `KEPT` in normal cells."""

    def configure(self, plan: SearchPlan) -> None:
        plan.keep_operations({"normal": KEPT}, by=self)


class KeepLater(SearchStrategy):
    """Removes them after the first architecture step."""

    def configure(self, plan: SearchPlan) -> None:
        plan.keep_operations(None, by=self)

    def on_after_arch_step(self, module: SearchModule, step: object) -> None:
        module.arch.keep("normal", KEPT)


class KeepAll(SearchStrategy):
    """May remove operations, and removes none."""

    def configure(self, plan: SearchPlan) -> None:
        plan.keep_operations(None, by=self)


class KeepNoThird(SearchStrategy):
    """Removes the third operation of each edge."""

    def configure(self, plan: SearchPlan) -> None:
        kept = torch.tensor([True, True, False, True]).expand(EDGES, OPS)
        plan.keep_operations({"normal": kept}, by=self)


def parameters(*strategies: SearchStrategy) -> ArchitectureParameters:
    return search([*strategies, Keep()]).arch.double()


def test_a_softmax_is_over_the_survivors_only() -> None:
    arch = parameters()
    alpha = torch.randn(EDGES, OPS, dtype=torch.float64)
    arch.alpha["normal"].data = alpha
    weights = arch().ops["normal"]
    for row, kept in enumerate(KEPT):
        assert torch.equal(weights[row, ~kept], torch.zeros(int((~kept).sum())).double())
        torch.testing.assert_close(weights[row, kept], alpha[row, kept].softmax(0))
    assert weights[2, 2] == 1
    assert arch().active == {"normal": ((0, 1, 2, 3), (1, 2), (2,), (0, 2, 3), ())}
    assert "reduce" not in arch().active


def test_removed_operations_have_no_gradient_and_the_others_that_of_a_smaller_softmax() -> None:
    arch = parameters()
    factors = torch.randn(EDGES, OPS, dtype=torch.float64)
    (arch().ops["normal"] * factors).sum().backward()
    found = arch.alpha["normal"].grad
    for row, kept in enumerate(KEPT):
        small = arch.alpha["normal"][row, kept].detach().requires_grad_()
        if len(small):
            (small.softmax(0) * factors[row, kept]).sum().backward()
            torch.testing.assert_close(found[row, kept], small.grad)
        assert not found[row, ~kept].any()


def test_on_the_simplex_the_survivors_share_the_weight() -> None:
    weights = parameters(ExponentiatedGradient())().ops["normal"]
    shares = KEPT / KEPT.sum(1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(weights, shares.double(), rtol=1e-4, atol=0)
    assert torch.equal(weights > 0, KEPT)


def test_an_exponentiated_step_is_that_of_a_smaller_simplex() -> None:
    """With four operations of which two survive, as with two operations."""
    arch = parameters(ExponentiatedGradient(lr=0.5))
    alpha, slope = arch.alpha["normal"], torch.randn(2, dtype=torch.float64)
    (arch().ops["normal"][1, 1:3] * slope).sum().backward()
    optimizer = ExponentiatedGradient(lr=0.5).exponentiated_gradient(
        [{"params": [alpha], "name": "alpha"}]
    )
    optimizer.step()
    expected = (torch.full((2,), 0.5).double().log() - 0.5 * slope).softmax(0)
    torch.testing.assert_close(arch().ops["normal"][1, 1:3], expected, rtol=1e-4, atol=0)


def test_sigmoids_of_removed_operations_are_zero() -> None:
    weights = parameters(FairDARTS())().ops["normal"]
    assert torch.equal(weights, 0.5 * KEPT)


@pytest.mark.parametrize("sampler", [GDAS(), SNAS(tau=0.1), BinaryGates()], ids=repr)
@pytest.mark.parametrize("step", ["weight", "arch"])
def test_only_survivors_are_drawn(sampler: SearchStrategy, step: str) -> None:
    arch = parameters(sampler)
    rows = KEPT.any(1)
    for _ in range(50):
        mixing = arch.sample(step)  # type: ignore[arg-type]
        weights = mixing.ops["normal"]
        assert not weights[~KEPT].any()
        torch.testing.assert_close(weights[rows].sum(1), torch.ones(4).double())
        for kept, ran in zip(KEPT.tolist(), mixing.active["normal"], strict=True):
            assert all(kept[m] for m in ran)
        if step == "weight":
            continue  # α is fixed
        torch.autograd.backward(weights.square().sum())
        assert arch.alpha["normal"].grad.isfinite().all()


class Counted(nn.Module):
    """Counts its calls."""

    def __init__(self, op: nn.Module) -> None:
        super().__init__()
        self.op, self.calls = op, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.op(x)
        return out


@pytest.mark.parametrize("reference", [False, True])
def test_what_was_removed_does_not_run(reference: bool) -> None:
    lightning.seed_everything(0, verbose=False)
    module = SearchModule(SPEC, tiny_supernet(), strategies=[Keep()])
    supernet: Any = module.supernet
    cell = supernet.cells[supernet.kinds.index("normal")]
    if reference:
        object.__setattr__(cell.execution, "cell", reference_cell)
    for edge in cell.edges:
        edge.mixed.ops = nn.ModuleList(Counted(op) for op in edge.mixed.ops)
    module.supernet(torch.randn(2, 3, 8, 8), module.arch())
    calls = torch.tensor([[op.calls for op in edge.mixed.ops] for edge in cell.edges])
    assert torch.equal(calls, KEPT.int())


def trained(strategies: Sequence[SearchStrategy]) -> SearchModule:
    module = search(strategies)
    trainer = quiet_trainer(precision="64-true", max_epochs=1, limit_val_batches=1)
    trainer.fit(module, datamodule=data())
    return module


@pytest.mark.parametrize("later", [False, True])
def test_frozen_entries_do_not_move_and_the_others_do(later: bool) -> None:
    start = search([Keep()]).arch.alpha["normal"].detach().double()
    module = trained([KeepLater() if later else Keep()])
    alpha = module.arch.alpha["normal"].detach()
    assert module.arch.survivors is not None
    frozen = module.arch.survivors.frozen("normal")
    assert torch.equal(frozen, ~KEPT | torch.tensor([0, 0, 1, 0, 1]).bool()[:, None])
    assert not torch.equal(alpha[~frozen], start[~frozen])
    if later:  # they moved in the first step
        assert not torch.equal(alpha[frozen], start[frozen])
    else:
        assert torch.equal(alpha[frozen], start[frozen])
    optimizers: Any = module.optimizers()
    optimizer = optimizers[1].optimizer
    moments = optimizer.state[module.arch.alpha["normal"]]["exp_avg"]
    assert moments[~frozen].all()
    assert bool(moments[frozen].any()) == later


def test_before_anything_is_removed_a_search_is_the_same_bit_for_bit() -> None:
    plain, may_remove = trained([]), trained([KeepAll()])
    states = plain.state_dict(), may_remove.state_dict()
    assert set(states[1]) - set(states[0]) == {
        f"arch.survivors.kept_{kind}" for kind in ("normal", "reduce")
    }
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert may_remove.arch().active == {}


def test_a_checkpoint_restores_what_was_removed() -> None:
    module = trained([KeepLater()])
    again = search([KeepLater()])
    again.load_state_dict(module.state_dict())
    assert again.arch().active == module.arch().active != {}
    assert again.arch().active["normal"][4] == ()


def test_masks_of_several_strategies_are_joined() -> None:
    active = search([Keep(), KeepNoThird()]).arch().active["normal"]
    assert active == ((0, 1, 3), (1,), (), (0, 3), ())
