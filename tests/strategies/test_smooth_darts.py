"""SmoothDARTS: the perturbations against plain code and quadrature, and what they leave alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchPlan, SearchStrategy
from nas_lightning.spaces import DartsSupernet
from nas_lightning.strategies import (
    GDAS,
    SNAS,
    BinaryGates,
    EdgeNormalization,
    FairDARTS,
    PartialChannels,
    SmoothDARTS,
)
from nas_lightning.strategies.smooth_darts import Ops, ascended, running, valid
from nas_lightning.supernet import Mixing
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, quiet_trainer
from tests.recorded import data, run, same, search

SHORT: dict[str, Any] = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 0}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(row: list[float]) -> list[float]:
    """Clipped and divided by the sum, as the released code does to a row."""
    clipped = [min(max(weight, 0.0), 1.0) for weight in row]
    if sum(clipped) == 0:
        clipped[row.index(max(row))] = 1.0
    return [weight / sum(clipped) for weight in clipped]


def everything(weights: Tensor) -> Tensor:
    return torch.ones_like(weights, dtype=torch.bool)


def test_weights_are_made_valid_as_in_plain_code() -> None:
    rows = torch.randn(200, 4, dtype=torch.float64, generator=seeded())
    rows[:20] = -rows[:20].abs()  # nothing is left of these
    found = valid(rows, everything(rows))
    expected = torch.tensor([plain(row) for row in rows.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_operations_that_are_gone_stay_so() -> None:
    rows = torch.tensor([[0.2, -0.1, 0.9, 0.4], [-0.5, 0.3, -0.2, -0.1], [0.1, 0.2, 0.3, 0.4]])
    mixing = Mixing({"normal": rows}, {}, {"normal": ((0, 3), (2, 3), ())})
    found = valid(rows, running(mixing)["normal"])
    expected = torch.tensor([[1 / 3, 0, 0, 2 / 3], [0, 0, 0, 1], [0, 0, 0, 0]])
    torch.testing.assert_close(found, expected)


class Alone:
    """As much of a search as `SmoothDARTS.perturbed` reads."""

    def __init__(self) -> None:
        self.arch = self
        self.generator = seeded()


def test_the_mean_gradient_is_that_of_the_smoothed_loss() -> None:
    """Of (p · w - 1)² / 2 by w, against quadrature over the square of the noise.

    The clipping is active: p is nearer to 0 than ε. The mean lies within five standard errors.
    """
    p, w, epsilon = torch.tensor([[0.2, 0.8]]).double(), torch.tensor([1.5, -0.5]).double(), 0.3
    points, number = 400, 20_000
    grid = (torch.arange(points, dtype=torch.float64) + 0.5) / points * 2 * epsilon - epsilon
    noise = torch.cartesian_prod(grid, grid)

    def slopes(q: Tensor) -> Tensor:
        return q * (q @ w - 1)[:, None]

    quadrature = [plain(row) for row in (p + noise).tolist()]
    expected = slopes(torch.tensor(quadrature, dtype=torch.float64)).mean(dim=0)

    strategy: Any = SmoothDARTS("random", epsilon)
    strategy._now, strategy._module = epsilon, Alone()
    mixing = Mixing({"normal": p.expand(number, 2)}, {})
    drawn = slopes(strategy.perturbed(mixing, lambda _: torch.zeros(())).ops["normal"])
    error = drawn.std(dim=0) / number**0.5
    assert bool(((drawn.mean(dim=0) - expected).abs() < 5 * error).all())
    assert bool(((slopes(p)[0] - expected).abs() > 10 * error).any())  # the smoothing shows


def by_hand(p: Tensor, start: Tensor, slope: Callable[[Tensor], Tensor], epsilon: float) -> Tensor:
    """Seven steps of the released attack on the rows of a matrix, without its last comparison.

    That comparison takes the start back if the loss fell; of the seeds below, it does so in one.
    """
    at = start
    for _ in range(7):
        at = at + 2 * epsilon / 7 * torch.sign(slope(at))
        at = p + (at - p).clamp(-epsilon, epsilon)
        at = torch.tensor([plain(row) for row in at.tolist()], dtype=torch.float64)
    return at


@pytest.mark.parametrize("seed", range(3))
def test_the_ascent_is_that_of_the_released_code(seed: int) -> None:
    generator = seeded(seed)
    p = torch.randn(5, 4, dtype=torch.float64, generator=generator).softmax(-1)
    root = torch.randn(20, 20, dtype=torch.float64, generator=generator)
    linear = torch.randn(20, dtype=torch.float64, generator=generator)
    start = valid(p + 0.2 * torch.rand(5, 4, generator=generator).double() - 0.1, everything(p))

    def loss(ops: Ops) -> Tensor:
        flat = ops["normal"].flatten()
        return (root @ flat).square().sum() / 2 + linear @ flat

    def slope(at: Tensor) -> Tensor:
        return (root.T @ root @ at.flatten() + linear).view(5, 4)

    found, rise = ascended(
        {"normal": p}, {"normal": everything(p)}, loss, {"normal": start}, 0.1, 7
    )
    climbed = by_hand(p, start, slope, 0.1)
    gained = float(loss({"normal": climbed}) - loss({"normal": p}))
    assert (gained < 0) == (seed == 2)
    torch.testing.assert_close(found["normal"], p if seed == 2 else climbed, rtol=1e-12, atol=0)
    assert float(rise) == pytest.approx(max(gained, 0))
    # within the ball but for the division by the sum
    scales = torch.linspace(0.5, 1.5, 2001, dtype=torch.float64)
    for row, centre in zip(found["normal"], p, strict=True):
        gaps = (scales[:, None] * row - centre).abs().amax(dim=1)
        assert float(gaps.min()) < 0.1 + 5e-4


def test_a_linear_loss_is_climbed_to_the_edge_of_the_ball() -> None:
    p = torch.full((1, 4), 0.25, dtype=torch.float64)
    along = torch.tensor([[2.0, 1.0, -1.0, -3.0]]).double()
    found, _ = ascended(
        {"normal": p}, {"normal": everything(p)}, lambda ops: (along * ops["normal"]).sum(),
        {"normal": p}, 0.1, 7,
    )  # fmt: skip
    torch.testing.assert_close(found["normal"], p + 0.1 * along.sign(), rtol=1e-12, atol=0)


def test_a_perturbation_that_lowers_the_loss_is_dropped() -> None:
    p = torch.full((1, 2), 0.5, dtype=torch.float64)
    start = torch.tensor([[0.55, 0.45]]).double()
    peaked = {"normal": p}, {"normal": everything(p)}, lambda o: -(o["normal"] - p).abs().sum()
    found, rise = ascended(*peaked, {"normal": start}, 0.1, 1)
    assert torch.equal(found["normal"], p)
    assert float(rise) == 0


def test_without_epsilon_the_search_is_that_of_darts(tmp_path: Path) -> None:
    strategies = [SmoothDARTS("adversarial", epsilon=0.0, epsilon_start=0.0)]
    assert same(run([], tmp_path).trace, run(strategies, tmp_path).trace)


class Radius(SearchStrategy):
    """Keeps ε of each epoch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        smooth = pl_module.strategies[0]
        assert isinstance(smooth, SmoothDARTS)
        self.seen.append(smooth._now)


def test_epsilon_grows_linearly_and_stays_below_its_end(tmp_path: Path) -> None:
    radius = Radius()
    settings = {"max_epochs": 3, "limit_train_batches": 1, "limit_val_batches": 0}
    run([SmoothDARTS("random", 0.3, 0.03), radius], tmp_path, **settings)
    assert radius.seen == pytest.approx([0.03, 0.12, 0.21])


@pytest.mark.parametrize("perturbation", ["random", "adversarial"])
@pytest.mark.parametrize("running_stats", [False, True])
def test_the_extra_passes_leave_the_supernet_alone(
    perturbation: Literal["random", "adversarial"], running_stats: bool
) -> None:
    """In PC-DARTS, with an auxiliary head: weights, buffers, modes and β are what they were."""
    smooth: Any = SmoothDARTS(perturbation, 0.3, steps=3)
    original, seen = smooth.perturbed, []

    def watched(mixing: Mixing, loss: Callable[[Mixing], Tensor]) -> Mixing:
        module = smooth._module
        before = {name: value.clone() for name, value in module.supernet.state_dict().items()}
        modes = [part.training for part in module.supernet.modules()]
        found: Mixing = original(mixing, loss)
        for name, value in module.supernet.state_dict().items():
            assert torch.equal(value, before[name]), name
        assert [part.training for part in module.supernet.modules()] == modes
        assert all(weight.requires_grad for weight in module.supernet.parameters())
        assert found.edges is mixing.edges
        module.supernet.eval()
        with torch.no_grad():
            seen.append(float(loss(found) - loss(mixing)))
        module.supernet.train()
        for kind, weights in found.ops.items():
            assert not torch.equal(weights, mixing.ops[kind])
            torch.testing.assert_close(weights.sum(-1), torch.ones(5))
        return found

    smooth.perturbed = watched
    lightning.seed_everything(0, verbose=False)
    supernet = DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, running_stats=running_stats)
    strategies = [PartialChannels(2), EdgeNormalization(), smooth]
    module = SearchModule(SPEC, supernet, strategies=strategies)
    quiet_trainer(**SHORT).fit(module, datamodule=data())
    assert len(seen) == 4
    if perturbation == "adversarial":
        assert min(seen) > 0
        logged = module.trainer.callback_metrics["sdarts/rise"]
        assert float(logged) == pytest.approx(sum(seen[2:]) / 2, rel=1e-3)


class Removed(SearchStrategy):
    """Removes the last operation of every edge."""

    def configure(self, plan: SearchPlan) -> None:
        masks = {}
        for cell in plan.space.cells:
            masks[cell.kind] = torch.ones(len(cell.edges), len(cell.primitives), dtype=torch.bool)
            masks[cell.kind][:, -1] = False
        plan.keep_operations(masks, by=self)


@pytest.mark.parametrize("perturbation", ["random", "adversarial"])
def test_removed_operations_are_not_perturbed(
    perturbation: Literal["random", "adversarial"],
) -> None:
    smooth: Any = SmoothDARTS(perturbation, 0.3, steps=2)
    original, seen = smooth.perturbed, []

    def watched(mixing: Mixing, loss: Callable[[Mixing], Tensor]) -> Mixing:
        found: Mixing = original(mixing, loss)
        seen.append(found.ops)
        return replace(found)

    smooth.perturbed = watched
    module = search([smooth, Removed()])
    quiet_trainer(**SHORT).fit(module, datamodule=data())
    for ops in seen:
        for weights in ops.values():
            assert not weights[:, -1].any()
            assert bool((weights[:, :-1].sum(-1) > 0.99).all())


@pytest.mark.parametrize("other", [SNAS(), GDAS(), BinaryGates(), FairDARTS()])
def test_weights_that_are_sampled_or_no_shares_are_refused(
    other: SearchStrategy, make_search: SearchFactory
) -> None:
    name = type(other).__name__
    with pytest.raises(UsageError, match=f"conflicting strategies: SmoothDARTS and {name} both"):
        make_search([SmoothDARTS(), other])
