"""Measurements of mixing weights: what validation reports, and nothing of the search is moved."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from nas_lightning.data import Synthetic
from nas_lightning.errors import DivergedError, NASError, UsageError
from nas_lightning.search import SearchModule, one_hot
from nas_lightning.search.measure import (
    BetweenMeasurements,
    check_metric,
    check_validation,
    evaluated,
    measure,
    quality,
)
from nas_lightning.spaces import DartsSupernet
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory


class AtStart(Callback):
    """Calls a function at the start of the second epoch, and keeps what it returns."""

    def __init__(self, function: Callable[[SearchModule], Any]) -> None:
        self.function = function
        self.found: Any = None
        self.validated: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, SearchModule)
        if trainer.current_epoch == 1:
            metrics = trainer.callback_metrics.items()
            self.validated = {k: float(v) for k, v in metrics if k.startswith("search/val")}
            self.found = self.function(pl_module)


def at_start(
    module: SearchModule, data: Synthetic, make_trainer: TrainerFactory,
    function: Callable[[SearchModule], Any], *others: Callback, **settings: Any,
) -> AtStart:  # fmt: skip
    """Run two epochs and call a function between them."""
    callback = AtStart(function)
    trainer = make_trainer(max_epochs=2, callbacks=[callback, *others], **settings)
    trainer.fit(module, datamodule=data)
    return callback


@pytest.mark.parametrize("rarely", [False, True])
def test_it_gives_what_the_validation_reports(
    rarely: bool, make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Also when the validation itself does not run in that epoch."""
    every = {"check_val_every_n_epoch": 2} if rarely else {}
    found = at_start(
        make_search(), search_data, make_trainer, lambda m: measure(m, m.arch()), **every
    )
    assert found.found.keys() == {"loss", "accuracy"}
    assert bool(found.validated) != rarely
    for name, value in found.validated.items():
        assert found.found[name.removeprefix("search/val_")] == pytest.approx(value, abs=1e-6)


def test_nothing_of_the_search_is_moved(
    make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    """Buffers of batch norm, modes, gradients and generators; so the run goes on as without."""

    def run(function: Callable[[SearchModule], Any]) -> SearchModule:
        torch.manual_seed(0)
        factory = DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, running_stats=True)
        module = SearchModule(SPEC, factory, drop_path=0.0)
        at_start(module, search_data, make_trainer, function)
        return module

    def measured(module: SearchModule) -> None:
        before = {name: value.clone() for name, value in module.state_dict().items()}
        modes = [part.training for part in module.modules()]
        state = torch.get_rng_state()
        measure(module, module.arch())
        assert torch.equal(torch.get_rng_state(), state)
        assert [part.training for part in module.modules()] == modes
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[name]), name

    one, other = run(measured), run(lambda module: None)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_batch_norm_uses_the_batch_and_dropout_is_off() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.9))
    network[0].eval()
    x = torch.randn(64, 2) * 3 + 5
    with evaluated(network):
        out = network(x)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=0), torch.ones(2), atol=2e-2, rtol=0)
    assert not network[0].training
    assert network[1].training


def test_other_mixing_weights_give_other_values(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    def both(module: SearchModule) -> list[float]:
        discrete = one_hot(module.space, module.genotype(), torch.device("cpu"))
        return [measure(module, mixing)["loss"] for mixing in (module.arch(), discrete)]

    first, second = at_start(make_search(), search_data, make_trainer, both).found
    assert first != second


def test_the_sign_makes_more_better(make_search: SearchFactory) -> None:
    module, found = make_search(), {"loss": 2.0, "accuracy": 0.25}
    assert quality(module, found, "main") == quality(module, found, "accuracy") == 0.25
    assert quality(module, found, "loss") == -2


def test_a_metric_must_be_known_and_have_a_direction(make_search: SearchFactory) -> None:
    module = make_search()
    with pytest.raises(UsageError, match=r"^X: metric 'f1' is unknown; choose from main, loss, "):
        check_metric(module, "f1", "X")
    module.streams.directions["accuracy"] = None
    with pytest.raises(UsageError, match="nothing says if accuracy is better towards max or min"):
        check_metric(module, "main", "X")
    check_metric(module, "loss", "X")


@pytest.mark.filterwarnings("ignore:Total length of .* across ranks is zero")
@pytest.mark.parametrize(
    ("settings", "single", "advice"),
    [({"limit_val_batches": 0}, False, "trainer.limit_val_batches 0 leaves nothing: remove"),
     ({}, True, "there is none: set data.single_level to false")],
)  # fmt: skip
def test_validation_data_is_needed(
    settings: dict[str, Any], single: bool, advice: str, make_search: SearchFactory,
    make_trainer: TrainerFactory, search_data: Synthetic,
) -> None:  # fmt: skip
    search_data.single_level = single
    module = make_search()
    with pytest.raises(UsageError, match=advice) as error:
        at_start(module, search_data, make_trainer,
                 lambda m: check_validation(m.trainer, "X"), **settings)  # fmt: skip
    assert "\n" not in str(error.value)


def test_a_loss_that_is_not_finite_ends_the_run(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    def broken(module: SearchModule) -> None:
        with torch.no_grad():
            next(module.supernet.parameters()).fill_(torch.nan)
        measure(module, module.arch())

    with pytest.raises(DivergedError, match="validation loss of the supernet is nan at the start"):
        at_start(make_search(), search_data, make_trainer, broken)


def test_a_callback_can_end_the_run_after_a_measurement(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic
) -> None:
    class Stop(BetweenMeasurements, Callback):
        def on_measured(self, trainer: Trainer) -> None:
            raise NASError(f"stopped in epoch {trainer.current_epoch}")

    with pytest.raises(NASError, match="stopped in epoch 1"):
        at_start(make_search(), search_data, make_trainer, lambda m: measure(m, m.arch()), Stop())
