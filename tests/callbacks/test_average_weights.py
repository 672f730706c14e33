"""Averaged weights: their start, their values, and that training is not affected."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import ASGD, SGD, Optimizer

from nas_lightning.callbacks import AverageWeights
from nas_lightning.errors import UsageError
from tests.callbacks.toy_fit import BATCHES, Save, Toy, train_data, val_data

pytestmark = pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*")
RISING = (1.0, 2.0, 2.0)
"""With nonmono 0, averaging begins after epoch 1: with the ninth step."""


def fit(
    make_trainer: Any,
    module: Toy,
    *callbacks: Any,
    epochs: int = 4,
    ckpt: Path | None = None,
    **kwargs: Any,
) -> Any:
    settings = {"max_epochs": epochs, "num_sanity_val_steps": 0, **kwargs}
    trainer = make_trainer(callbacks=list(callbacks), **settings)
    trainer.fit(module, train_data(), val_data(), ckpt_path=ckpt, weights_only=True)
    return trainer


def released(losses: list[float], nonmono: int) -> int | None:
    """The evaluation at which the released code of AWD-LSTM and DARTS changes to averages."""
    best_val_loss: list[float] = []
    for epoch, val_loss in enumerate(losses):
        if len(best_val_loss) > nonmono and val_loss > min(best_val_loss[: -nonmono or None]):
            return epoch
        best_val_loss.append(val_loss)
    return None


@pytest.mark.parametrize("nonmono", [0, 1, 3, 5])
def test_averaging_begins_as_in_the_released_code(nonmono: int) -> None:
    generator = torch.Generator().manual_seed(nonmono)
    found: list[int | None] = []
    for _ in range(50):
        noise = torch.rand(12, generator=generator)
        losses = (10 * noise - torch.arange(12)).round().tolist()  # some are equal
        callback = AverageWeights(nonmono)
        module, began = Toy(), None
        for epoch, loss in enumerate(losses):
            trainer: Any = SimpleNamespace(
                sanity_checking=False,
                state=SimpleNamespace(fn="fit"),
                callback_metrics={"retrain/val_loss": torch.tensor(loss, dtype=torch.float64)},
                current_epoch=epoch,
                is_global_zero=True,
            )
            callback.on_validation_end(trainer, module)
            if callback.averaging and began is None:
                began = epoch
        assert began == released(losses, nonmono)
        found.append(began)
    assert len(set(found)) > 3  # never, too


def test_the_mean_is_of_the_weights_after_each_step_since_then(make_trainer: Any) -> None:
    callback, module = AverageWeights(nonmono=0), Toy(RISING)
    fit(make_trainer, module, callback)
    assert callback.averaged == 2 * BATCHES
    for epoch, evaluated in enumerate(module.evaluated):
        after = module.plain[: (epoch + 1) * BATCHES]
        since = after[2 * BATCHES + 1 :] or after[-1:]  # without the first step
        expected = torch.stack(since).double().mean(dim=0)
        torch.testing.assert_close(evaluated.double(), expected, rtol=1e-6, atol=1e-7)


def test_training_does_not_notice(make_trainer: Any) -> None:
    plain, averaged = Toy(RISING), Toy(RISING)
    fit(make_trainer, plain)
    fit(make_trainer, averaged, AverageWeights(nonmono=0))
    assert torch.equal(torch.stack(plain.plain), torch.stack(averaged.plain))
    assert torch.equal(plain.weights(), averaged.weights())
    assert torch.equal(plain.evaluated[1], averaged.evaluated[1])
    assert not torch.equal(plain.evaluated[2], averaged.evaluated[2])


def steps_of_asgd(
    rates: list[float], switch: int, decay: float = 0.0, batches: int = BATCHES
) -> tuple[Tensor, Tensor]:
    """Weights after each step of SGD and then ASGD, and the mean of the latter at the end.

    As in the released code, a new ASGD takes over after `switch` steps.
    """
    module = Toy()
    optimizer: Optimizer = SGD(module.parameters(), lr=rates[0], weight_decay=decay)
    after = []
    for step, rate in enumerate(rates):
        if step == switch:
            parameters = module.parameters()
            optimizer = ASGD(parameters, lr=rate, t0=0, lambd=0.0, weight_decay=decay)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        module.training_step(None, step % batches).backward()  # type: ignore[no-untyped-call] # of torch
        optimizer.step()
        after.append(module.weights())
    mean = [optimizer.state[p]["ax"].flatten() for p in module.parameters()]
    return torch.stack(after), torch.cat(mean)


class Constant(Toy):
    """At a constant rate, and with the epoch's number at hand without a trainer."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=0.01)


@pytest.mark.parametrize("batches", [1, 2, 3, BATCHES])
def test_at_a_constant_rate_it_is_torch_asgd(batches: int, make_trainer: Any) -> None:
    """Also after one, two and three steps, of which the first does not count in the mean."""
    module = Constant((1.0, 2.0))  # with nonmono 0, averaging begins after epoch 1
    rates = [0.1] * 3 * batches
    trainer = fit(
        make_trainer, module, AverageWeights(nonmono=0), epochs=3, limit_train_batches=batches
    )
    after, mean = steps_of_asgd(rates, switch=2 * batches, decay=0.01, batches=batches)
    torch.testing.assert_close(torch.stack(module.plain), after)
    trainer.test(module, val_data(), verbose=False)
    torch.testing.assert_close(module.evaluated[-1], mean)


def test_torch_asgd_steps_at_the_rate_of_the_step_before() -> None:
    """Why the averages are not left to it: sequences of random length need their own rates."""
    start = Toy().weights()
    ordered = [0.1, 0.3]
    after, _ = steps_of_asgd(ordered, switch=0)
    same, _ = steps_of_asgd([0.1, 0.1], switch=0)
    assert torch.equal(after, same)
    assert not torch.equal(after[0], start)


def test_test_and_prediction_use_the_mean_too(make_trainer: Any) -> None:
    module = Toy(RISING)
    trainer = fit(make_trainer, module, AverageWeights(nonmono=0))
    plain, mean = module.weights(), module.evaluated[-1]
    trainer.test(module, val_data(), verbose=False)
    assert torch.equal(module.evaluated[-1], mean)
    (predicted,) = trainer.predict(module, val_data())
    assert torch.equal(predicted, mean)
    trainer.validate(module, val_data(), verbose=False)
    assert torch.equal(module.evaluated[-1], mean)
    assert torch.equal(module.weights(), plain)


@pytest.mark.parametrize("first", [True, False], ids=["saved before", "saved after"])
@pytest.mark.parametrize("where", [(0, 1), (2, 0), (2, 2), (3, 1)], ids=str)
def test_a_resumed_run_ends_as_the_straight_one(
    where: tuple[int, int], first: bool, make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"
    callbacks = [Save(path, *where), AverageWeights(nonmono=0)]
    whole, resumed = Toy(RISING, momentum=0.9), Toy(RISING, momentum=0.9)
    straight = fit(make_trainer, whole, *(callbacks if first else callbacks[::-1]))
    again = AverageWeights(nonmono=0)
    trainer = fit(make_trainer, resumed, again, ckpt=path)
    assert torch.equal(resumed.weights(), whole.weights())
    for each, module in ((straight, whole), (trainer, resumed)):
        each.test(module, val_data(), verbose=False)
    assert torch.equal(resumed.evaluated[-1], whole.evaluated[-1])
    assert not torch.equal(whole.evaluated[-1], whole.weights())
    assert again.history == callbacks[1].history  # type: ignore[attr-defined]


@pytest.mark.parametrize("listed", [True, False], ids=["with the callback", "without it"])
def test_a_checkpoint_is_evaluated_at_the_mean(
    listed: bool, make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"
    module = Toy(RISING)
    trainer = fit(make_trainer, module, AverageWeights(nonmono=0))
    trainer.save_checkpoint(path)
    fresh = Toy()
    tester = make_trainer(callbacks=[AverageWeights(nonmono=0)] if listed else [])
    for run in (tester.test, tester.validate):
        run(fresh, val_data(), ckpt_path=path, verbose=False, weights_only=True)
        assert torch.equal(fresh.evaluated[-1], module.evaluated[-1])
    content = torch.load(path, weights_only=True)
    weights = content["state_dict"]
    assert torch.equal(weights["tied.weight"], weights["layer.weight"])
    assert torch.equal(torch.cat([v.flatten() for v in content["average_weights"]["plain"].values()]), module.weights())  # fmt: skip # noqa: E501


def test_a_checkpoint_written_during_validation_holds_the_mean(
    make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"

    class Saves(Toy):
        def on_validation_epoch_end(self) -> None:
            self.trainer.save_checkpoint(path)

    module = Saves(RISING)
    fit(make_trainer, module, AverageWeights(nonmono=0))
    content = torch.load(path, weights_only=True)
    mean = torch.cat([content["state_dict"][f"layer.{n}"].flatten() for n in ("weight", "bias")])
    assert torch.equal(mean, module.evaluated[-1])
    plain = content["average_weights"]["plain"]
    assert torch.equal(torch.cat([v.flatten() for v in plain.values()]), module.weights())


def test_steps_count_not_batches(make_trainer: Any) -> None:
    callback = AverageWeights(nonmono=0)
    fit(make_trainer, Toy(RISING), callback, accumulate_grad_batches=2)
    assert callback.averaged == 2 * BATCHES / 2


def test_runs_that_do_not_fit_are_refused(
    make_trainer: Any, make_search: Any, search_data: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="AverageWeights is for retraining"):
        make_trainer(callbacks=[AverageWeights()]).fit(make_search(), datamodule=search_data)
    with pytest.raises(UsageError, match=r"'loss' is not logged: .*retrain/val_loss"):
        fit(make_trainer, Toy(), AverageWeights(monitor="loss"))
    saver = ModelCheckpoint(tmp_path, save_weights_only=True)
    with pytest.raises(UsageError, match="save_weights_only to false"):
        fit(make_trainer, Toy(), AverageWeights(), saver, enable_checkpointing=True)
    with pytest.raises(UsageError, match="nonmono must be at least 0"):
        AverageWeights(nonmono=-1)
