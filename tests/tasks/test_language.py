"""Language modelling: loss and perplexity by hand, and a state that is carried along."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torchmetrics.text import Perplexity

from nas_lightning.errors import UsageError
from nas_lightning.tasks import LanguageModeling, LanguageOutput, TextInput

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
