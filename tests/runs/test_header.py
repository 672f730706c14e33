"""Warnings at the start of a run that ends before its warm-up does."""

import pytest

from nas_lightning.runs.header import too_short
from nas_lightning.strategies import EdgeNormalization, TwoStage, WarmUp
from nas_lightning.training.schedules import CosineSchedule, LinearSchedule
from tests.conftest import SearchFactory


@pytest.mark.parametrize(("epochs", "warns"), [(2, True), (3, True), (4, False), (None, False)])
def test_a_search_in_which_no_alpha_learns_says_so(
    epochs: int | None, warns: bool, make_search: SearchFactory
) -> None:
    for strategies in ([WarmUp(3)], [EdgeNormalization(), TwoStage(3)]):
        found = too_short(make_search(strategies), epochs)
        assert len(found) == warns
        for line in found:
            assert f"{strategies[-1]!r} lets no α learn in the {epochs} epochs" in line
            assert "\n" not in line


@pytest.mark.parametrize(("epochs", "number"), [(3, 2), (4, 1), (5, 0)])
def test_a_schedule_that_never_ends_its_warm_up_says_so(
    epochs: int, number: int, make_search: SearchFactory
) -> None:
    module = make_search(
        weight_schedule=CosineSchedule(warmup_epochs=4),
        arch_schedule=LinearSchedule(warmup_epochs=5),
    )
    found = too_short(module, epochs)
    assert len(found) == number
    assert all("the warm-up of " in line and f"{epochs} epochs" in line for line in found)
