"""The unrolled gradient on a closed form and as a strategy; see also search/test_estimators.py."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from docs.examples.estimators import Loss, Problem
from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.layers.text import TextInput
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.search.differences import central_difference, moved
from nas_lightning.strategies import AmendedGradient, Unrolled
from nas_lightning.strategies.unrolled import sgd_direction, unrolled_gradient
from tests.conftest import SearchFactory, TrainerFactory
from tests.search.hypergradient import network, relative_error, toy
from tests.search.test_recurrent_search import DROPOUTS
from tests.search.test_recurrent_search import data as text_data
from tests.search.test_recurrent_search import search as recurrent_search


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("a", "w"), [(2.0, -2.0), (0.5, 1.0), (1.0, 1.0)])
def test_on_the_toy_problem(a: float, w: float, rate: float) -> None:
    """DARTS, figure 2: the derivative is w' - 2 + 2ξα with w' = w - ξ(2w - 2α)."""
    problem = toy(w, a).bilevel(lr=rate)
    ahead = w - rate * (2 * w - 2 * a)
    expected = ahead - 2 + 2 * rate * a
    assert unrolled_gradient(problem)[0].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert problem.weights["w"].item() == w


def test_it_needs_sgd(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    module = make_search([Unrolled()], weight_optimizer=torch.optim.Adam)
    with pytest.raises(UsageError, match=r"set weight_optimizer to torch\.optim\.SGD"):
        make_trainer().fit(module, datamodule=search_data)


def test_two_estimators_conflict(make_search: SearchFactory) -> None:
    with pytest.raises(UsageError, match="Unrolled and AmendedGradient both decide"):
        make_search([Unrolled(), AmendedGradient()])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        Unrolled(epsilon=0.0)
    with pytest.raises(UsageError, match=r"Unrolled: clip must be .*above 0"):
        Unrolled(clip=0.0)
    with pytest.raises(UsageError, match="Unrolled: unbounded needs clip"):
        Unrolled(unbounded=True)


def released_rule(
    problem: Problem, rate: float, clip: float, decay: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The rule of the released code for recurrent cells, with an exact second derivative.

    It is written from the formula: the factor of the clipped inner gradient multiplies the
    implicit term, and is not bounded by 1 there.

    Returns:
        The architecture gradient, and the factor.
    """

    def clipped(gradient: Tensor) -> tuple[Tensor, Tensor]:
        factor = clip / (gradient.square().sum().sqrt() + 1e-6)
        return (gradient * factor if factor < 1 else gradient), factor

    slope, _ = problem.slopes(problem.inner)
    step, factor = clipped(slope)
    ahead = replace(problem, w=problem.w - rate * (step + decay * problem.w))
    v, direct = ahead.slopes(problem.outer)
    _, mixed = problem.second()  # at w, not at w'
    return direct - rate * factor * mixed @ clipped(v)[0], factor


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip", [0.05, 50.0], ids=["clipped", "not clipped"])
def test_clipping_is_the_rule_of_the_released_code(seed: int, clip: float) -> None:
    problem = network(seed)
    expected, factor = released_rule(problem, rate=0.3, clip=clip, decay=0.01)
    seen = problem.bilevel(lr=0.3, weight_decay=0.01)
    (found,) = unrolled_gradient(seen, 1e-4, clip=clip, unbounded=True)
    assert relative_error(found, expected) < 1e-6
    assert (factor < 1) == (clip < 1)
    (bounded,) = unrolled_gradient(seen, 1e-4, clip=clip)
    if factor < 1:
        assert torch.equal(bounded, found)
    else:  # nothing is clipped
        (plain,) = unrolled_gradient(seen, 1e-4)
        torch.testing.assert_close(bounded, plain, rtol=1e-12, atol=1e-15)
        assert relative_error(found, plain) > 0.01


def test_without_the_new_settings_nothing_has_changed() -> None:
    """The formula of before, bit for bit."""
    problem = network(0)
    seen = problem.bilevel(lr=0.3, momentum=0.9, weight_decay=0.01)
    arch, weights = list(seen.arch.values()), list(seen.weights.values())
    direction, rate = sgd_direction(seen, seen.grad(seen.inner(), weights))
    with moved(weights, direction, -rate):
        direct, v = seen.grad(seen.outer(), [*arch, *weights])
    (implicit,) = central_difference(seen, arch, [v], 0.01)
    assert torch.equal(unrolled_gradient(seen)[0], direct - rate * implicit)
    assert torch.equal(Unrolled().unrolled(seen)[0], direct - rate * implicit)


class Watch(SearchStrategy):
    """Keeps the first architecture gradient."""

    def __init__(self) -> None:
        self.first: Tensor | None = None

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        if self.first is None:
            self.first = step.gradients["alpha.recurrent"]


@pytest.mark.parametrize("clip", [0.25, 2.0], ids=["clipped", "not clipped"])
def test_a_recurrent_search_takes_the_gradient_of_the_released_code(
    clip: float, make_trainer: TrainerFactory
) -> None:
    """The first batch of a search in float64, computed here from its two texts alone."""
    dropouts = dict.fromkeys(DROPOUTS, 0.0)
    settings: dict[str, Any] = {"clip": clip, "unbounded": True}
    watch, loud = Watch(), Watch()
    strategy = Unrolled(**settings, regularization=False)
    module, twin, third = (
        recurrent_search(strategies, **dropouts)
        for strategies in ([strategy, watch], [], [Unrolled(**settings), loud])
    )
    texts = text_data()
    texts.setup("fit")
    batch = next(iter(texts.train_dataloader()))[0]
    for searched in (module, third):
        trainer = make_trainer(limit_train_batches=1, limit_val_batches=0, precision="64-true")
        trainer.fit(searched, datamodule=text_data())
    twin.double()
    names, weights = zip(*twin.supernet.named_parameters(), strict=True)
    sizes = [weight.numel() for weight in weights]
    alpha = twin.arch.alpha["recurrent"]

    def loss(half: str) -> Loss:
        words, following = batch[half]

        def of(w: Tensor, a: Tensor) -> Tensor:
            parts = torch.split(w, sizes)
            given = {n: p.view_as(v) for n, p, v in zip(names, parts, weights, strict=True)}
            mixing = replace(twin.arch(), ops={"recurrent": a.softmax(dim=1)})
            output = functional_call(twin.supernet, given, (TextInput(words, None), mixing))
            return F.cross_entropy(output.logits.flatten(0, 1), following.flatten())

        return of

    flat = torch.cat([weight.detach().flatten() for weight in weights])
    problem = Problem(loss("train"), loss("val"), flat, alpha.detach())
    rate = 10.0 * len(batch["train"][0]) / 8  # shorter texts take smaller steps
    expected, factor = differences_rule(problem, rate, clip)
    assert (factor < 1) == (clip < 1)
    assert watch.first is not None
    assert loud.first is not None
    assert relative_error(watch.first, expected) < 1e-9
    assert relative_error(loud.first, expected) > 1e-6  # slowness is in its inner loss


def differences_rule(problem: Problem, rate: float, clip: float) -> tuple[Tensor, Tensor]:
    """The rule of the released code with its differences, for many weights; no weight decay."""
    slope, _ = problem.slopes(problem.inner)
    factor = clip / (slope.norm() + 1e-6)
    ahead = replace(problem, w=problem.w - rate * slope * factor.clamp(max=1))
    v, direct = ahead.slopes(problem.outer)
    v = v * (clip / (v.norm() + 1e-6)).clamp(max=1)
    length = 0.01 / v.norm()
    above, below = (
        replace(problem, w=problem.w + sign * length * v).slopes(problem.inner)[1]
        for sign in (1, -1)
    )
    return direct - rate * factor * (above - below) / (2 * length), factor
