"""The language model of a recurrent genotype."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.spaces import PUBLISHED, RecurrentNetwork, RecurrentSpace
from nas_lightning.tasks import LanguageModeling, LanguageOutput, TextInput

SPEC = {"num_tokens": 11}
SMALL = RecurrentNetwork(hidden=4)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_parameters_of_the_published_network(seed: int | None) -> None:
    space = RecurrentSpace()
    genotype = PUBLISHED["DARTS_RNN_V2"] if seed is None else random_genotype(space, seed)
    with torch.device("meta"):
        ptb = RecurrentNetwork().build(genotype, {"num_tokens": 10_000})
        wikitext = RecurrentNetwork(hidden=700).build(genotype, {"num_tokens": 33_278})
    # W0, eight W_i, embedding = decoder, bias; the paper says 23M and 33M
    assert 1700 * 1700 + 8 * 850 * 1700 + 10_000 * 850 + 10_000 == 22_960_000
    assert count_parameters(ptb) == 22_960_000
    assert count_parameters(wikitext) == 33_127_878


def test_the_published_cell_against_its_formula() -> None:
    network = SMALL.build(PUBLISHED["DARTS_RNN_V2"], SPEC).double().eval()
    model = network.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    tokens, h = torch.tensor([[3, 7], [1, 3]]), torch.randn(2, 4, dtype=torch.float64)
    functions = {"sigmoid": torch.sigmoid, "relu": torch.relu, "tanh": torch.tanh}
    released = ["sigmoid0", "relu1", "relu1", "identity1", "tanh2", "sigmoid5", "tanh3", "relu5"]
    logits: list[Tensor] = []
    state = h
    for word in tokens:
        both = torch.cat([model.embedding[word], state], dim=1) @ model.initial
        s = [state + torch.sigmoid(both[:, :4]) * (torch.tanh(both[:, 4:]) - state)]
        for name, matrix in zip(released, model.steps, strict=True):
            before = s[int(name[-1])]
            ch = before @ matrix
            new = functions.get(name[:-1], nn.Identity())(ch[:, 4:])
            s.append(before + torch.sigmoid(ch[:, :4]) * (new - before))
        state = torch.stack(s[1:]).mean(dim=0)
        logits.append(state @ model.embedding.T + model.bias)
    output, auxiliary = network(TextInput(tokens, h))
    assert auxiliary is None
    assert isinstance(output, LanguageOutput)
    torch.testing.assert_close(output.logits, torch.stack(logits))
    torch.testing.assert_close(output.hidden, state)


def test_the_output_of_a_text_does_not_depend_on_other_texts() -> None:
    network = SMALL.build(PUBLISHED["DARTS_RNN_V1"], SPEC).eval()
    tokens = torch.randint(11, (5, 3))
    alone = [network(TextInput(tokens[:, i : i + 1]))[0].logits for i in range(3)]
    torch.testing.assert_close(network(TextInput(tokens))[0].logits, torch.cat(alone, dim=1))


def test_a_step_with_several_predecessors_or_none() -> None:
    nodes = ((), (NodeInput("tanh", 0), NodeInput("relu", 1)))
    genotype = Genotype(RecurrentSpace(), {"recurrent": CellGenotype(nodes, (2,), 1)})
    model = SMALL.build(genotype, SPEC).double().eval()
    s0 = torch.randn(2, 4, dtype=torch.float64)
    ch = s0 @ model.model.steps[1]
    expected = s0 + torch.sigmoid(ch[:, :4]) * (torch.tanh(ch[:, 4:]) - s0)
    # a step without edges is zero, and so is a step that applies relu to it
    torch.testing.assert_close(model._steps(s0, None), expected)


def test_word_dropout_drops_all_occurrences_of_a_word() -> None:
    others = ("dropout", "dropout_hidden", "dropout_input", "dropout_embedding")
    factory = RecurrentNetwork(hidden=4, dropout_word=0.5, **dict.fromkeys(others, 0.0))
    network = factory.build(PUBLISHED["DARTS_RNN_V2"], SPEC)
    embedding = network.model.embedding
    # every word twice, in two texts
    x = TextInput(torch.stack([torch.arange(11), torch.arange(11).flip(0)], dim=1))
    torch.manual_seed(3)
    masks = network.model.masks(2)
    assert masks.hidden is masks.input is masks.embedding is masks.output is None
    assert masks.word is not None
    assert set(masks.word.flatten().tolist()) == {0.0, 2.0}
    torch.manual_seed(3)
    raw = network(x)[0].raw
    # equals a network in which the words' rows of the embedding are zero or doubled
    with torch.no_grad():
        embedding.mul_(masks.word)
    torch.testing.assert_close(raw[-1], network.eval()(x)[0].hidden)


def test_training_returns_the_outputs_for_the_regularisers() -> None:
    network = RecurrentNetwork(hidden=4).build(PUBLISHED["DARTS_RNN_V2"], SPEC).train()
    output, _ = network(TextInput(torch.randint(11, (5, 3))))
    assert output.logits.shape == (5, 3, 11)
    assert output.hidden.shape == (3, 4)
    assert output.raw is not None
    assert output.dropped is not None
    assert output.raw.shape == output.dropped.shape == (5, 3, 4)
    assert torch.equal(output.raw[-1], output.hidden)
    kept = output.dropped != 0
    # one mask for all words: a kept unit is kept for every word
    assert torch.equal(kept, kept[:1].expand_as(kept))
    torch.testing.assert_close(output.dropped[kept], 4 * output.raw[kept])


def test_a_genotype_of_the_space_gets_this_network_by_default() -> None:
    with torch.device("meta"):
        task = LanguageModeling()
        module = RetrainModule(SPEC, "DARTS_RNN_V2", task=task, auxiliary_weight=0.0)
    assert count_parameters(module.network) == 22_960_000 - (10_000 - 11) * 851


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="found a genotype of darts"):
        SMALL.build(PUBLISHED["DARTS_V2"], SPEC)
    with pytest.raises(UsageError, match="no auxiliary head: set auxiliary_weight to 0"):
        SMALL.build(PUBLISHED["DARTS_RNN_V2"], SPEC, auxiliary=True)
    with pytest.raises(UsageError, match="needs text"):
        SMALL.build(PUBLISHED["DARTS_RNN_V2"], {"in_channels": 3})


@pytest.mark.parametrize(
    "arguments", [{"hidden": 0}, {"dropout_word": 1.0}, {"dropout": -0.1}, {"dropout_hidden": 2.0}]
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be at least"):
        RecurrentNetwork(**arguments)
