import math
from functools import partial

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LRScheduler

from nas_lightning.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    Schedule,
    TorchSchedule,
)


def sgd(*rates: float) -> SGD:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return SGD(groups, lr=1.0)


def run(optimizer: SGD, scheduler: LRScheduler, epochs: int) -> list[list[float]]:
    """Rates of all groups in each epoch, stepped as Lightning does: also after the last one."""
    rates = []
    for _ in range(epochs):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def rates(schedule: Schedule, epochs: int, initial: float) -> list[float]:
    optimizer = sgd(initial)
    return [r[0] for r in run(optimizer, schedule.build(optimizer, epochs), epochs)]


@pytest.mark.parametrize(("eta_min", "epochs"), [(0.0, 600), (0.001, 50), (0.001, 1)])
def test_cosine_is_torchs(eta_min: float, epochs: int) -> None:
    mine, theirs = sgd(0.025, 0.1), sgd(0.025, 0.1)
    expected = run(theirs, CosineAnnealingLR(theirs, epochs, eta_min), epochs)
    found = run(mine, CosineSchedule(eta_min).build(mine, epochs), epochs)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=1e-8)
    assert [g["lr"] for g in mine.param_groups] == pytest.approx([eta_min, eta_min])


def test_cosine_after_a_warm_up() -> None:
    found = rates(CosineSchedule(warmup_epochs=5), 50, 0.5)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:] == pytest.approx(rates(CosineSchedule(), 45, 0.5))


def test_cosine_of_pc_darts_search_on_imagenet() -> None:
    """The released script overrides the first five rates of a cosine over all 50 epochs."""
    found = rates(CosineSchedule(warmup_epochs=5, from_start=True), 50, 0.5)
    by_hand = [0.5 * (e + 1) / 5 for e in range(5)]
    by_hand += [0.25 * (1 + math.cos(math.pi * e / 50)) for e in range(5, 50)]
    assert found == pytest.approx(by_hand, rel=1e-12)
    torchs = sgd(0.5)
    cosine = run(torchs, CosineAnnealingLR(torchs, 50, 0.0), 50)
    assert found[5:] == pytest.approx([rate for (rate,) in cosine[5:]], rel=1e-9)
    later = rates(CosineSchedule(warmup_epochs=5), 50, 0.5)  # begun after the warm-up
    assert max(b / a for a, b in zip(found, later, strict=True)) == pytest.approx(1.234, abs=1e-3)


@pytest.mark.parametrize("epochs", [1, 3, 5, 6])
def test_cosine_from_the_start_in_runs_about_as_long_as_the_warm_up(epochs: int) -> None:
    found = rates(CosineSchedule(warmup_epochs=5, from_start=True), epochs, 0.5)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5][:epochs])
    assert all(0 < rate <= 0.5 for rate in found)


def test_without_a_warm_up_it_does_not_matter_where_the_cosine_begins() -> None:
    one, other = CosineSchedule(0.001), CosineSchedule(0.001, from_start=True)
    assert rates(one, 50, 0.1) == rates(other, 50, 0.1)


def test_linear_is_the_formula_of_pc_darts() -> None:
    epochs, initial = 250, 0.5
    found = rates(LinearSchedule(), epochs, initial)
    for epoch, rate in enumerate(found):
        if epochs - epoch > 5:
            assert rate == pytest.approx(initial * (epochs - 5 - epoch) / (epochs - 5))
        else:
            assert rate == pytest.approx(initial * (epochs - epoch) / ((epochs - 5) * 5))
    assert found[0] == initial
    assert found == sorted(found, reverse=True)


def test_linear_after_a_warm_up_continues_as_without() -> None:
    # the released script overrides the rate of the first epochs, it does not shift the rest
    found = rates(LinearSchedule(warmup_epochs=5), 250, 0.5)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert found[5:] == pytest.approx(rates(LinearSchedule(), 250, 0.5)[5:])


def test_linear_without_a_tail_is_a_straight_line() -> None:
    assert rates(LinearSchedule(tail_epochs=0), 4, 1.0) == pytest.approx([1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("epochs", [1, 3, 5, 6])
def test_linear_runs_shorter_than_the_tail_stay_between_zero_and_the_initial_rate(
    epochs: int,
) -> None:
    found = rates(LinearSchedule(), epochs, 0.5)
    assert all(0 < rate <= 0.5 for rate in found)
    assert found == sorted(found, reverse=True)


def test_constant() -> None:
    assert rates(ConstantSchedule(), 4, 0.3) == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("schedule", [ConstantSchedule(), CosineSchedule(), LinearSchedule()])
def test_a_rate_of_zero_stays_zero(schedule: Schedule) -> None:
    assert rates(schedule, 3, 0.0) == [0.0] * 3


def test_torch_schedule_is_the_scheduler_that_it_was_given() -> None:
    # DARTS on ImageNet: 0.97 an epoch
    found = rates(TorchSchedule(partial(ExponentialLR, gamma=0.97)), 6, 0.1)
    assert found == pytest.approx([0.1 * 0.97**e for e in range(6)])
    assert math.isclose(found[-1], 0.0858734, rel_tol=1e-5)


def test_text_form_says_every_argument() -> None:
    expected = "CosineSchedule(eta_min=0.0, warmup_epochs=2, from_start=False)"
    assert repr(CosineSchedule(warmup_epochs=2)) == expected
    assert repr(ConstantSchedule()) == "ConstantSchedule()"
