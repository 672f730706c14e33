"""Language modelling: loss and perplexity by hand, and a state that is carried along."""

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from lightning import Callback
from torch import Tensor
from torch.optim import SGD
from torchmetrics.text import Perplexity

from nas_lightning.data import SyntheticText
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import RecurrentNetwork, RecurrentSupernet
from nas_lightning.tasks import LanguageModeling, LanguageOutput, TextInput
from nas_lightning.training.stage import Stage

SPEC = {"num_tokens": 11}
BPTT = 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def output(length: int, columns: int = 3, training: bool = True) -> LanguageOutput:
    hidden = torch.randn(length, columns, 5, requires_grad=True)
    kept = (hidden, 2 * hidden) if training else (None, None)
    return LanguageOutput(3 * torch.randn(length, columns, 11), hidden[-1], *kept)


def words(length: int, columns: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randint(11, (length, columns)), torch.randint(11, (length, columns))


def cross_entropies(out: LanguageOutput, batch: tuple[Tensor, Tensor]) -> list[float]:
    """Minus the logarithm of the probability of each word, in double precision."""
    length, columns = batch[1].shape
    logits = out.logits.double()
    return [
        float(torch.logsumexp(logits[t, b], 0) - logits[t, b, batch[1][t, b]])
        for t in range(length)
        for b in range(columns)
    ]


# -- loss and metrics --------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_the_loss_is_the_mean_cross_entropy(training: bool) -> None:
    out, batch = output(4, training=training), words(4)
    nats = cross_entropies(out, batch)
    loss = LanguageModeling(activation=2.0, slowness=3.0).loss(out, batch)
    assert float(loss) == pytest.approx(sum(nats) / 12)


def test_there_is_no_regularisation_in_an_evaluation() -> None:
    task = LanguageModeling(activation=2.0, slowness=3.0)
    assert task.regularization(output(4, training=False)) == 0.0


def test_regularisers_in_training() -> None:
    out = output(4)
    assert out.raw is not None
    raw = out.raw.detach().double()
    steps = [(raw[t + 1] - raw[t]).square() for t in range(3)]
    slowness = float(sum(step.sum() for step in steps)) / (3 * 3 * 5)
    activation = float((2 * raw).square().sum()) / (4 * 3 * 5)
    found = LanguageModeling(activation=2.0, slowness=3.0).regularization(out)
    assert isinstance(found, Tensor)
    assert found.requires_grad
    assert found.item() == pytest.approx(2 * activation + 3 * slowness, rel=1e-5)


def test_a_sequence_of_one_word_has_no_step() -> None:
    assert LanguageModeling().regularization(output(1)) == 0.0


def test_perplexity_is_exp_of_the_mean_over_all_words() -> None:
    task = LanguageModeling()
    metrics = task.metrics(SPEC)
    published = Perplexity()
    nats: list[float] = []
    for length, columns in ((4, 3), (7, 2), (1, 5)):
        out, batch = output(length, columns), words(length, columns)
        task.update(metrics, out, batch)
        published.update(out.logits, batch[1])
        nats += cross_entropies(out, batch)
        assert task.size(batch) == length * columns
    found = metrics.compute()
    assert list(found) == ["perplexity"]
    assert float(found["perplexity"]) == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-5)
    assert float(found["perplexity"]) == pytest.approx(float(published.compute()), rel=1e-5)


def test_a_word_of_vanishing_probability_does_not_make_perplexity_infinite() -> None:
    logits = torch.zeros(4, 1, 11)
    logits[0, 0, 0] = 120.0
    batch = (torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1, dtype=torch.long))
    task = LanguageModeling()
    metrics, published = task.metrics(SPEC), Perplexity()
    task.update(metrics, LanguageOutput(logits, torch.zeros(1, 5)), batch)
    published.update(logits, batch[1])
    expected = math.exp((120 + 3 * math.log(11)) / 4)
    assert float(metrics.compute()["perplexity"]) == pytest.approx(expected, rel=1e-4)
    assert math.isinf(float(published.compute()))


def test_perplexity_of_a_diverged_model_is_not_a_number() -> None:
    task = LanguageModeling()
    metrics = task.metrics(SPEC)
    task.update(metrics, output(4), words(4))
    broken = output(4)._replace(logits=torch.full((4, 3, 11), math.nan))
    task.update(metrics, broken, words(4))
    assert math.isnan(float(metrics.compute()["perplexity"]))


def test_inputs_carry_and_detached() -> None:
    task = LanguageModeling(bptt=8)
    out, batch = output(4), words(4)
    assert task.inputs(batch) == TextInput(batch[0], None)
    carried = task.carry(out)
    assert torch.equal(carried, out.hidden)
    assert not carried.requires_grad
    given = task.inputs(batch, carried)
    assert given.hidden is carried
    detached = task.detached(out)
    for mine, theirs in zip(detached, out, strict=True):
        assert torch.equal(cast(Tensor, mine), cast(Tensor, theirs))
        assert not cast(Tensor, mine).requires_grad
    assert task.detached(output(2, training=False)).raw is None
    assert task.rate_scale(words(8)) == 1.0
    assert task.rate_scale(words(2)) == 0.25


def test_there_are_no_predictions() -> None:
    with pytest.raises(UsageError, match="writes no predictions"):
        LanguageModeling().predictions(output(4))


@pytest.mark.parametrize("kwargs", [{"bptt": 0}, {"activation": -1.0}, {"slowness": -1.0}])
def test_arguments_out_of_range(kwargs: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(kwargs))):
        LanguageModeling(**kwargs)


def test_the_constructor_call_is_kept() -> None:
    assert repr(LanguageModeling(35, 1.0)) == (
        "LanguageModeling(bptt=35, activation=1.0, slowness=0.001)"
    )


# -- in a run ----------------------------------------------------------------------------------


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
