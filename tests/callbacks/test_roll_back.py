"""A loss that is not finite: return to a checkpoint, then continue with the next batch."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, SequentialLR

from nas_lightning.callbacks import AverageWeights, RollBackOnNaN
from nas_lightning.callbacks.roll_back import lower_rates
from nas_lightning.data import SyntheticText
from nas_lightning.errors import DivergedError, UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import RecurrentNetwork
from nas_lightning.tasks import LanguageModeling
from nas_lightning.training.schedules import ConstantSchedule, CosineSchedule, LinearSchedule
from tests.callbacks.toy_fit import BATCHES, Save, Toy, train_data, val_data

SCHEDULERS: list[tuple[str, Any]] = [
    ("cosine", lambda o: CosineSchedule(warmup_epochs=2).build(o, 8)),
    ("floor", lambda o: CosineSchedule(eta_min=0.1).build(o, 8)),
    ("linear", lambda o: LinearSchedule(tail_epochs=2).build(o, 8)),
    ("constant", lambda o: ConstantSchedule().build(o, 8)),
    ("exponential", lambda o: ExponentialLR(o, 0.9)),
    ("torch cosine", lambda o: CosineAnnealingLR(o, 8)),
    (
        "sequence",
        lambda o: SequentialLR(o, [LinearLR(o, 0.5, 1, 5), ExponentialLR(o, 0.9)], [5]),
    ),
]

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")


class Begins(Callback):
    """The state before each batch: weights, momentum, learning rate."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], tuple[Tensor, Tensor | None, float]] = {}

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        (optimizer,) = trainer.optimizers
        states = [optimizer.state[p].get("momentum_buffer") for p in pl_module.parameters()]
        momentum = None if states[0] is None else torch.cat([s.flatten() for s in states])
        key = (trainer.current_epoch, batch_idx)
        self.seen[key] = (pl_module.weights(), momentum, optimizer.param_groups[0]["lr"])


def fit(
    make_trainer: Any,
    folder: Path,
    module: Toy,
    *callbacks: Any,
    epochs: int = 4,
    ckpt: Path | None = None,
) -> Any:
    """Keep the best and the last checkpoint, as the command line does."""
    saver = ModelCheckpoint(
        folder, filename="best", monitor="retrain/val_loss", save_last=True,
        enable_version_counter=False, save_on_train_epoch_end=True,
    )  # fmt: skip
    trainer = make_trainer(
        callbacks=[*callbacks, saver],
        max_epochs=epochs,
        num_sanity_val_steps=0,
        enable_checkpointing=True,
    )
    trainer.fit(module, train_data(), val_data(), ckpt_path=ckpt, weights_only=True)
    return trainer


def test_it_continues_from_the_best_checkpoint(
    make_trainer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begins, callback = Begins(), RollBackOnNaN(rate_factor=1.0)
    # epoch 0 is the best; the loss breaks in the second batch of epoch 2
    module = Toy((1.0, 2.0), broken=[(2, 1)], momentum=0.9)
    trainer = fit(make_trainer, tmp_path, module, begins, callback)
    best, after = begins.seen[1, 0], begins.seen[2, 2]
    assert torch.equal(after[0], best[0])
    assert torch.equal(after[1], best[1])  # type: ignore[arg-type]
    assert after[2] == pytest.approx(0.1 * 0.9**2)  # the rate is that of epoch 2
    assert list(begins.seen) == [(e, b) for e in range(4) for b in range(BATCHES)]
    assert all(bool(w.isfinite().all()) for w, _, _ in begins.seen.values())
    assert (trainer.callback_metrics["retrain/rollbacks"], callback.count) == (1.0, 1)
    said = capsys.readouterr().out
    assert "epoch 3, batch 2 is not finite: rolled back to" in said
    assert "best.ckpt, learning rate now 0.081 (roll-back 1 of 10)" in said


def test_a_run_without_such_a_loss_is_left_alone(make_trainer: Any, tmp_path: Path) -> None:
    plain, watched = Toy(), Toy()
    fit(make_trainer, tmp_path / "a", plain)
    fit(make_trainer, tmp_path / "b", watched, RollBackOnNaN())
    assert torch.equal(plain.weights(), watched.weights())


def test_a_broken_checkpoint_is_passed_over(make_trainer: Any, tmp_path: Path) -> None:
    last: dict[str, Tensor] = {}

    class Spoil(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 2:
                content = torch.load(tmp_path / "best.ckpt", weights_only=True)
                content["state_dict"]["layer.bias"].fill_(math.inf)
                torch.save(content, tmp_path / "best.ckpt")
                last.update(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])

    begins = Begins()
    module = Toy((1.0, 2.0), broken=[(2, 1)])
    fit(make_trainer, tmp_path, module, begins, Spoil(), RollBackOnNaN())
    expected = torch.cat([last["layer.weight"].flatten(), last["layer.bias"]])
    assert torch.equal(begins.seen[2, 2][0], expected)


def test_patience_ends(make_trainer: Any, tmp_path: Path) -> None:
    callback = RollBackOnNaN(patience=2)
    module = Toy(broken=[(1, 0), (1, 1), (1, 2)])
    with pytest.raises(DivergedError, match="epoch 2, batch 3 is not finite, after 2 roll-backs"):
        fit(make_trainer, tmp_path, module, callback)
    assert callback.count == 2


def test_without_a_checkpoint_it_is_an_error(make_trainer: Any, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="batch 4 is not finite, and there is no finite check"):
        fit(make_trainer, tmp_path, Toy(broken=[(0, 3)]), RollBackOnNaN())


def test_a_resumed_run_goes_back_to_what_it_came_from_and_counts_on(
    make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"
    first, second = RollBackOnNaN(), RollBackOnNaN()
    broken = [(1, 0), (1, 2)]
    fit(make_trainer, tmp_path / "a", Toy(broken=broken[:1]), first, Save(path, 1, 1), epochs=2)
    for name in ("best", "last"):
        (tmp_path / "a" / f"{name}.ckpt").unlink()
    begins = Begins()
    fit(make_trainer, tmp_path / "a", Toy(broken=broken), begins, second, epochs=2, ckpt=path)
    assert torch.equal(begins.seen[1, 3][0], begins.seen[1, 2][0])
    assert (first.count, second.count) == (1, 2)


@pytest.mark.parametrize("order", [1, -1], ids=["averages first", "averages last"])
def test_averages_come_back_too(order: int, make_trainer: Any, tmp_path: Path) -> None:
    # averaging begins after epoch 1; epoch 2 is the best; the loss breaks in epoch 3
    averages, begins = AverageWeights(nonmono=0), Begins()
    module = Toy((1.0, 2.0, 0.5, 3.0), broken=[(3, 1)])
    callbacks = [averages, RollBackOnNaN()][::order]
    trainer = fit(make_trainer, tmp_path, module, begins, *callbacks, epochs=4)
    # training continues with the plain weights
    assert torch.equal(begins.seen[3, 2][0], begins.seen[3, 0][0])
    # the mean is of epoch 2 but its first step, and of the two batches after the roll-back
    kept = [*module.plain[2 * BATCHES + 1 : 3 * BATCHES], *module.plain[-2:]]
    trainer.test(module, val_data(), verbose=False)
    torch.testing.assert_close(module.evaluated[-1], torch.stack(kept).mean(dim=0))
    assert averages.averaged == len(kept) + 1
    assert averages.history == [1.0, 2.0, 0.5, 3.0]


def test_a_hidden_state_starts_again(make_trainer: Any, tmp_path: Path) -> None:
    class Breaks(Callback):
        """Breaks weights, and by them the loss and the state of a batch."""

        def __init__(self) -> None:
            self.reads: list[Tensor | None] = []
            self.finite: list[bool] = []

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            def keep(module: Any, args: Any) -> None:
                if module.training:
                    self.reads.append(args[0].hidden)

            pl_module.network.register_forward_pre_hook(keep)

        def on_train_batch_start(
            self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
        ) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 2):
                next(pl_module.network.parameters()).data.fill_(math.nan)

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.finite.append(bool(outputs["loss"].isfinite()))

    torch.manual_seed(0)
    module = RetrainModule(
        {"num_tokens": 7}, "DARTS_RNN_V2", RecurrentNetwork(hidden=4), LanguageModeling(bptt=10),
        auxiliary_weight=0.0, drop_path=0.0,
    )  # fmt: skip
    data = SyntheticText(
        num_tokens=7, train_size=204, valid_size=100, mode="retrain", batch_size=4, bptt=10
    )
    breaks = Breaks()
    saver = ModelCheckpoint(tmp_path)
    make_trainer(
        max_epochs=2, callbacks=[breaks, RollBackOnNaN(), saver], enable_checkpointing=True
    ).fit(module, datamodule=data)
    size = len(breaks.reads) // 2
    assert breaks.finite == [i != size + 2 for i in range(2 * size)]
    none = [i for i, hidden in enumerate(breaks.reads) if hidden is None]
    assert none == [0, size, size + 3]


class ByHand(Toy):
    """Steps its optimizer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"patience": -1}, "patience must be at least 0"),
        ({"rate_factor": 0.0}, "rate_factor must be above 0"),
        ({"rate_factor": 1.5}, "rate_factor must be above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        RollBackOnNaN(**arguments)


def test_a_module_that_could_not_say_what_broke_is_refused(
    make_trainer: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="cannot check the steps of ByHand"):
        fit(make_trainer, tmp_path, ByHand(), RollBackOnNaN())


def test_the_rate_is_lowered_for_good(make_trainer: Any, tmp_path: Path) -> None:
    # 0.1, times 0.9 an epoch, halved within epoch 1 and a quarter within epoch 2
    path, broken = tmp_path / "x.ckpt", [(1, 1), (2, 0)]
    begins, going_on = Begins(), Begins()
    fit(make_trainer, tmp_path / "a", Toy(broken=broken), begins, RollBackOnNaN(), Save(path, 2, 3))
    rates = {key: rate for key, (_, _, rate) in begins.seen.items()}
    assert rates[1, 1] == pytest.approx(0.1 * 0.9)
    assert rates[1, 2] == pytest.approx(0.1 * 0.9 / 2)
    assert rates[2, 1] == pytest.approx(0.1 * 0.9**2 / 4)
    assert rates[3, 0] == pytest.approx(0.1 * 0.9**3 / 4)
    (group,) = torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["initial_lr"] == pytest.approx(0.1 / 4)
    # the resumed run does not roll back itself
    fit(make_trainer, tmp_path / "a", Toy(), going_on, RollBackOnNaN(), ckpt=path)
    assert going_on.seen[3, 0][2] == rates[3, 0]


@pytest.mark.parametrize("make", SCHEDULERS, ids=[name for name, _ in SCHEDULERS])
def test_the_whole_schedule_is_lowered(make: Any) -> None:
    """After the lowering every rate is the factor times that of the untouched schedule."""
    plain, lowered = (make[1](SGD([torch.nn.Parameter(torch.ones(1))], lr=0.4)) for _ in range(2))
    for epoch in range(8):
        if epoch == 3:
            trainer = SimpleNamespace(
                optimizers=[lowered.optimizer],
                lr_scheduler_configs=[SimpleNamespace(scheduler=lowered)],
            )
            lower_rates(trainer, 0.25)  # type: ignore[arg-type]
        one, other = (s.optimizer.param_groups[0]["lr"] for s in (plain, lowered))
        assert other == pytest.approx(one * (0.25 if epoch >= 3 else 1.0))
        for scheduler in (plain, lowered):
            scheduler.optimizer.step()
            scheduler.step()
