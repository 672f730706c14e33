"""The temperatures of SNAS and GDAS, epoch by epoch, against those of the released codes."""

import copy
from itertools import pairwise
from pathlib import Path

import lightning
import pytest
from lightning import Trainer

from nas_lightning.data import Synthetic
from nas_lightning.errors import UsageError
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.strategies import GDAS, SNAS
from nas_lightning.strategies.gumbel import GumbelSoftmax
from tests.conftest import SearchFactory, TrainerFactory


class Temperatures(SearchStrategy):
    """Keeps the temperature of every epoch and batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def allow_arch_step(self, module: SearchModule) -> bool:
        assert isinstance(module.arch.ops, GumbelSoftmax)
        self.seen.append((module.current_epoch, module.arch.ops.temperature))
        return True


@pytest.mark.parametrize(
    ("strategy", "taus"),
    [
        (GDAS(tau=10.0, tau_end=1.0), [10.0, 5.5, 1.0]),
        (GDAS(tau=10.0, tau_end=1.0, hold_epochs=1), [10.0, 10.0, 5.5]),
        (SNAS(tau=10.0, tau_end=1.0), [7.0, 4.0, 1.0]),
    ],
    ids=repr,
)
def test_the_temperature_falls_linearly_also_after_a_resume_within_an_epoch(
    strategy: GDAS | SNAS,
    taus: list[float],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> None:
    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
            if (trainer.current_epoch, trainer.fit_loop.batch_idx) == (1, 1):
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    watch = Temperatures()
    trainer = make_trainer(max_epochs=3, limit_val_batches=0, callbacks=[Save()])
    trainer.fit(make_search([copy.copy(strategy), watch]), datamodule=search_data)
    expected = [(epoch, tau) for epoch, tau in enumerate(taus) for _ in range(4)]
    assert [epoch for epoch, _ in watch.seen] == [epoch for epoch, _ in expected]
    assert [tau for _, tau in watch.seen] == pytest.approx([tau for _, tau in expected])
    again = Temperatures()
    make_trainer(max_epochs=3, limit_val_batches=0).fit(
        make_search([copy.copy(strategy), again]),
        datamodule=search_data,
        ckpt_path=tmp_path / "middle.ckpt",
        weights_only=True,
    )
    assert again.seen == watch.seen[6:]


@pytest.mark.parametrize("epochs", [1, 2, 150])
def test_snas_temperatures_are_those_of_the_released_code(epochs: int) -> None:
    """Its scheduler steps once when it is built and once before each epoch."""
    strategy, last = SNAS(tau=1.0, tau_end=0.03), -1
    last += 1
    for epoch in range(epochs):
        last += 1
        theirs = (1 - last / epochs) * (1.0 - 0.03) + 0.03
        ours = 1.0 + (0.03 - 1.0) * strategy.fallen(epoch, epochs)
        assert ours == pytest.approx(theirs, rel=1e-12)
    assert ours == pytest.approx(0.03)


def test_gaea_gdas_holds_its_temperature_and_alpha_for_fifty_epochs() -> None:
    module = PlanCLI(["fit", "--config", "nb201_gaea_gdas"]).model
    warm_up, gdas = module.strategies[1:]
    assert isinstance(gdas, GDAS)
    taus = [gdas.tau + (gdas.tau_end - gdas.tau) * gdas.fallen(e, 250) for e in range(250)]
    assert taus[:51] == [10.0] * 51
    steps = [a - b for a, b in pairwise(taus[50:])]
    assert steps == pytest.approx([9.9 / 249] * 199)
    assert taus[-1] == pytest.approx(2.09, abs=0.005)
    assert repr(warm_up) == "WarmUp(epochs=50)"


def test_a_temperature_that_is_held_too_long_never_falls() -> None:
    assert [GDAS(hold_epochs=9).fallen(epoch, 5) for epoch in range(5)] == [0.0] * 5
    with pytest.raises(UsageError, match="GDAS: hold_epochs must be at least 0"):
        GDAS(hold_epochs=-1)


@pytest.mark.parametrize("kind", [SNAS, GDAS])
def test_temperatures_must_be_positive(kind: type[SNAS] | type[GDAS]) -> None:
    with pytest.raises(UsageError, match=f"{kind.__name__}: tau.* must be .*above 0"):
        kind(tau=1.0, tau_end=0.0)
