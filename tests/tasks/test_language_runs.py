"""Language models in runs: carried states, rates, resume, logs."""

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback
from torch import Tensor
from torch.optim import SGD

from nas_lightning.data import SyntheticText
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import RecurrentNetwork, RecurrentSupernet
from nas_lightning.tasks import LanguageModeling, LanguageOutput
from nas_lightning.training.stage import Stage
from tests.tasks.test_language import BPTT, SPEC


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def text(mode: Any, **kwargs: Any) -> SyntheticText:
    sizes = {"num_tokens": 11, "train_size": 404, "valid_size": 124, "test_size": 124}
    return SyntheticText(
        **sizes, mode=mode, batch_size=4, test_batch_size=4, bptt=BPTT, bptt_jitter=2.0, **kwargs
    )


def build(mode: Any, rate: float = 1.0) -> Stage:
    lightning.seed_everything(0, verbose=False)
    task, optimizer = LanguageModeling(bptt=BPTT, activation=0.1), partial(SGD, lr=rate)
    if mode == "search":
        supernet = RecurrentSupernet(hidden=6, steps=2)
        return SearchModule(SPEC, supernet, task, weight_optimizer=optimizer)
    network = RecurrentNetwork(hidden=6)
    return RetrainModule(
        SPEC, "DARTS_RNN_V2", network, task, optimizer, auxiliary_weight=0.0, drop_path=0.0
    )


class Watch(Callback):
    """Keeps the hidden states that the network reads and leaves, and lengths of batches."""

    def __init__(self) -> None:
        self.calls: list[tuple[bool, Tensor | None, Tensor]] = []
        """Training or not, state before, state after."""
        self.lengths: list[int] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        def keep(module: Any, args: Any, result: Any) -> None:
            out = result if isinstance(result, LanguageOutput) else result[0]
            self.calls.append((module.training, args[0].hidden, out.hidden.detach()))

        pl_module.trained.register_forward_hook(keep)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self.lengths.append(len((batch["train"] if isinstance(batch, dict) else batch)[0]))


def chained(calls: list[tuple[Tensor | None, Tensor]]) -> None:
    """The first starts from nothing, each other one from where the one before stopped."""
    assert calls[0][0] is None
    for (_, left), (reads, _) in itertools.pairwise(calls):
        assert reads is not None
        assert torch.equal(reads, left)


def test_a_retraining_carries_the_state(make_trainer: Any) -> None:
    watch = Watch()
    make_trainer(max_epochs=2, num_sanity_val_steps=0, callbacks=[watch]).fit(
        build("retrain"), datamodule=text("retrain")
    )
    train = [(before, after) for training, before, after in watch.calls if training]
    val = [(before, after) for training, before, after in watch.calls if not training]
    for calls in (train, val):
        half = len(calls) // 2  # two epochs
        chained(calls[:half])
        chained(calls[half:])
    assert len(train) == len(watch.lengths)


def test_a_search_carries_a_state_in_each_stream(make_trainer: Any) -> None:
    watch = Watch()
    make_trainer(num_sanity_val_steps=0, limit_val_batches=0, callbacks=[watch]).fit(
        build("search"), datamodule=text("search")
    )
    calls = [(before, after) for _, before, after in watch.calls]
    chained(calls[0::2])  # α's steps, on the validation text
    chained(calls[1::2])  # the weights' steps, on the training text


MODES = ["search", "retrain"]


@pytest.mark.parametrize("mode", MODES)
def test_the_rate_follows_the_length_of_the_very_batch(mode: str, make_trainer: Any) -> None:
    """Weights w move by -rate · T / bptt · gradient: clipped to norm 1e-3, that is their length."""
    moves: list[float] = []

    class Moves(Callback):
        before: list[Tensor]

        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.before = [p.detach().clone() for p in pl_module.trained.parameters()]

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            after = pl_module.trained.parameters()
            pairs = zip(after, self.before, strict=True)
            moves.append(math.sqrt(sum(float((a.detach() - b).square().sum()) for a, b in pairs)))

    watch = Watch()
    module = build(mode, rate=5.0)
    settings: dict[str, Any] = {"callbacks": [watch, Moves()], "limit_val_batches": 0}
    if isinstance(module, SearchModule):
        module.gradient_clip = 1e-3
    else:
        settings["gradient_clip_val"] = 1e-3
    make_trainer(**settings).fit(module, datamodule=text(mode))
    assert len(set(watch.lengths)) > 2
    expected = [5.0 * 1e-3 * length / BPTT for length in watch.lengths]
    assert moves == pytest.approx(expected, rel=1e-2)


class Save(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 4):
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_resumed_within_an_epoch_is_the_straight_one(
    mode: str, make_trainer: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.ckpt"
    whole = build(mode)
    make_trainer(max_epochs=2, callbacks=[Save(path)]).fit(whole, datamodule=text(mode))
    resumed = build(mode)
    resumed.draw_seed += 1  # the checkpoint's counts
    trainer = make_trainer(max_epochs=2)
    trainer.fit(resumed, datamodule=text(mode), ckpt_path=path, weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    # without the carried state it would not be
    content = torch.load(path, weights_only=True)
    (state,) = content["stage_state"]["streams"]
    assert state["carried"]
    state["carried"] = {}
    torch.save(content, path)
    forgetful = build(mode)
    make_trainer(max_epochs=2).fit(
        forgetful, datamodule=text(mode), ckpt_path=path, weights_only=True
    )
    states = whole.state_dict(), forgetful.state_dict()
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_what_is_logged(make_trainer: Any) -> None:
    module = build("retrain")
    trainer = make_trainer()
    trainer.validate(module, datamodule=text("retrain"), verbose=False)  # counts start again
    trainer.fit(module, datamodule=text("retrain"))
    logged = trainer.callback_metrics
    mean = float(logged["retrain/val_loss"])
    assert float(logged["retrain/val_perplexity"]) == pytest.approx(math.exp(mean), rel=1e-4)
    mean = float(logged["retrain/train_loss_epoch"])
    assert float(logged["retrain/train_perplexity"]) == pytest.approx(math.exp(mean), rel=1e-4)
    assert "retrain/val_perplexity" in trainer.progress_bar_metrics
    (tested,) = trainer.test(module, datamodule=text("retrain"), verbose=False)
    assert tested["retrain/test_perplexity"] == pytest.approx(
        math.exp(tested["retrain/test_loss"]), rel=1e-4
    )


@pytest.mark.slow
def test_a_recurrent_cell_learns_the_text(make_trainer: Any) -> None:
    lightning.seed_everything(0, verbose=False)
    data = SyntheticText(
        num_tokens=11, train_size=8000, mode="retrain", batch_size=32, test_batch_size=32, bptt=10
    )
    network = RecurrentNetwork(16, 0.0, 0.0, 0.0, 0.0, 0.0)
    module = RetrainModule(
        SPEC, "DARTS_RNN_V2", network, LanguageModeling(bptt=10), partial(SGD, lr=20.0),
        auxiliary_weight=0.0, drop_path=0.0,
    )  # fmt: skip
    trainer = make_trainer(max_epochs=6, gradient_clip_val=0.25, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    (tested,) = trainer.test(module, datamodule=data, verbose=False)
    # knowing nothing: 11
    assert 0.9 * data.best_perplexity < tested["retrain/test_perplexity"] < 4
