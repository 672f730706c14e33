"""Common parts of language models: initial weights and dropout masks."""

import pytest
import torch

from nas_lightning.spaces.recurrent.language_model import Dropouts, LanguageModel, Masks

DROPOUTS = Dropouts(output=0.75, hidden=0.25, input=0.5, embedding=0.2, word=0.1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model(hidden: int = 4, words: int = 11) -> LanguageModel:
    return LanguageModel(words, hidden, 8, DROPOUTS)


def test_masks_are_drawn_from_the_global_generator_in_training_only() -> None:
    made = model().train()
    torch.manual_seed(1)
    first = made.masks(3)
    torch.manual_seed(1)
    for mask, again in zip(first, made.masks(3), strict=True):
        assert mask is not None
        assert again is not None
        assert torch.equal(mask, again)
    later = made.masks(3)
    assert first.hidden is not None
    assert later.hidden is not None
    assert not torch.equal(first.hidden, later.hidden)
    assert set(first.hidden.flatten().tolist()) <= {0.0, torch.tensor(1 / 0.75).item()}
    assert made.eval().masks(3) == Masks()


@pytest.mark.parametrize("name", Masks._fields)
def test_a_mask_keeps_the_mean(name: str) -> None:
    mask = getattr(model(hidden=200, words=20_000).masks(100), name)
    p = getattr(DROPOUTS, name)
    assert mask.mean().item() == pytest.approx(1, abs=0.05)
    assert (mask == 0).float().mean().item() == pytest.approx(p, abs=0.02)


def test_without_dropout_nothing_is_drawn() -> None:
    made = LanguageModel(11, 4, 8, Dropouts(0.0, 0.0, 0.0, 0.0))
    state = torch.get_rng_state()
    assert made.masks(3) == Masks()
    assert torch.equal(torch.get_rng_state(), state)


def test_initial_weights_are_uniform_and_the_bias_is_zero() -> None:
    made = model(hidden=100, words=1000)
    for weight in (made.embedding, made.initial, *made.steps):
        assert weight.abs().max().item() == pytest.approx(0.04, rel=1e-3)
        assert weight.mean().item() == pytest.approx(0, abs=1e-3)
        assert weight.std().item() == pytest.approx(0.08 / 12**0.5, rel=0.02)
    assert not made.bias.any()
