"""The mixed language model against formulas written edge by edge."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.search import one_hot
from nas_lightning.spaces import (
    RECURRENT_PRIMITIVES,
    MixedLanguageModel,
    RecurrentNetwork,
    RecurrentSupernet,
)
from nas_lightning.spaces.recurrent.language_model import LanguageModel, Masks
from nas_lightning.supernet import ArchitectureParameters, EqualEdges, Mixing, SoftmaxOps
from nas_lightning.tasks import TextInput

SPEC = {"num_tokens": 11}
NO_DROPOUT: dict[str, Any] = {
    "dropout": 0.0,
    "dropout_hidden": 0.0,
    "dropout_input": 0.0,
    "dropout_embedding": 0.0,
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.zeros_like,
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "relu": lambda x: x.clamp(min=0),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "identity": lambda x: x,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def enlarge(module: nn.Module) -> None:
    """Weights so large that activations bend: fresh ones are nearly linear."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)


def make(**kwargs: Any) -> tuple[RecurrentSupernet, MixedLanguageModel]:
    factory = RecurrentSupernet(**{"hidden": 4, "steps": 3, **kwargs})
    supernet = factory.build(SPEC, 1).double()
    enlarge(supernet)
    return factory, supernet


def random_mixing(space: SearchSpace) -> Mixing:
    cell = space.cells[0]
    ops = torch.randn(len(cell.edges), len(cell.primitives), dtype=torch.float64).softmax(dim=1)
    return Mixing({"recurrent": ops}, {"recurrent": torch.rand(len(ops), dtype=torch.float64)})


def text(length: int = 5, batch: int = 3) -> TextInput:
    hidden = torch.randn(batch, 4, dtype=torch.float64)
    return TextInput(torch.randint(SPEC["num_tokens"], (length, batch)), hidden)


def normalised(x: Tensor) -> Tensor:
    """Batch norm without parameters, by hand (B, H)."""
    centred = x - x.mean(dim=0)
    return centred / (centred.square().mean(dim=0) + 1e-5).sqrt()


def reference(
    model: LanguageModel, x: TextInput, mixing: Mixing, space: SearchSpace, masks: Masks
) -> tuple[Tensor, Tensor]:
    """Logits and last state: word by word, step by step, edge by edge, operation by operation."""
    cell = space.cells[0]
    units = model.hidden

    def mask(name: str, like: Tensor) -> Tensor:
        given: Tensor | None = getattr(masks, name)
        return torch.ones_like(like) if given is None else given

    assert x.hidden is not None
    h, logits = x.hidden, []
    for words in x.tokens:
        embedded = model.embedding[words]
        if masks.word is not None:
            embedded = embedded * masks.word[words]
        embedded = embedded * mask("embedding", embedded) * mask("input", embedded)
        both = torch.cat([embedded, h * mask("hidden", h)], dim=1) @ model.initial
        gate, new = FUNCTIONS["sigmoid"](both[:, :units]), FUNCTIONS["tanh"](both[:, units:])
        states = [normalised(h + gate * (new - h))]
        for step, matrix in enumerate(model.steps):
            total = torch.zeros_like(h)
            for row, edge in enumerate(cell.edges):
                if edge.target != step + 1:
                    continue
                s = states[edge.source]
                c, candidate = ((s * mask("hidden", s)) @ matrix).split(units, dim=1)
                for m, primitive in enumerate(cell.primitives):
                    if primitive == "none":
                        continue
                    if mixing.active and m not in mixing.active["recurrent"][row]:
                        continue
                    value = FUNCTIONS[primitive](candidate)
                    out = s + FUNCTIONS["sigmoid"](c) * (value - s)
                    total = total + mixing.edges["recurrent"][row] * (
                        mixing.ops["recurrent"][row, m] * out
                    )
            states.append(normalised(total))
        h = sum(states[1:], torch.zeros_like(h)) / len(model.steps)
        logits.append((h * mask("output", h)) @ model.embedding.T + model.bias)
    return torch.stack(logits), h


def test_it_is_the_formula_in_evaluation() -> None:
    factory, supernet = make()
    x, mixing = text(), random_mixing(factory.space)
    output = supernet.eval()(x, mixing)
    logits, hidden = reference(supernet.model, x, mixing, factory.space, Masks())
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.hidden, hidden)
    assert output.raw is None
    assert output.dropped is None


@pytest.mark.parametrize("steps", [1, 8])
def test_it_is_the_formula_under_dropout_masks(steps: int) -> None:
    factory, supernet = make(steps=steps, dropout=0.5, dropout_input=0.5)
    x, mixing = text(), random_mixing(factory.space)
    torch.manual_seed(7)
    masks = supernet.model.masks(3)
    torch.manual_seed(7)
    output = supernet.train()(x, mixing)
    assert masks.word is None
    logits, hidden = reference(supernet.model, x, mixing, factory.space, masks)
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.hidden, hidden)
    torch.testing.assert_close(output.raw[-1], hidden)
    torch.testing.assert_close(output.dropped, output.raw * masks.output)


def test_only_active_operations_run() -> None:
    factory, supernet = make(**NO_DROPOUT)
    cell = factory.space.cells[0]
    mixing, x = random_mixing(factory.space), text()
    # one edge with nothing, one with `none` alone, a step with `none` on all, others with some
    active = ((1, 4), (), (2,), (0,), (0,), (0,))
    assert len(active) == len(cell.edges)
    mixing = Mixing(mixing.ops, mixing.edges, {"recurrent": active})
    output = supernet(x, mixing)
    logits, _ = reference(supernet.model, x, mixing, factory.space, Masks())
    torch.testing.assert_close(output.logits, logits)
    # a weight that is not active counts for nothing, whatever it is
    huge = Mixing({"recurrent": mixing.ops["recurrent"].clone()}, mixing.edges, mixing.active)
    for row, running in enumerate(active):
        for m in set(range(5)) - set(running):
            huge.ops["recurrent"][row, m] = 1e9
    torch.testing.assert_close(supernet(x, huge).logits, output.logits)


def test_active_operations_are_all_that_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_lightning.spaces.recurrent import supernet as recurrent

    rows: list[tuple[str, int]] = []

    def counted(name: str) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            rows.append((name, len(x)))
            return FUNCTIONS[name](x)

        return run

    monkeypatch.setattr(recurrent, "ACTIVATIONS", {n: counted(n) for n in RECURRENT_PRIMITIVES})
    factory, supernet = make(**NO_DROPOUT)
    mixing = random_mixing(factory.space)
    active = ((1,), (2,), (2,), (4,), (), (0,))
    supernet(text(length=1), Mixing(mixing.ops, mixing.edges, {"recurrent": active}))
    assert rows == [("tanh", 1), ("relu", 2), ("identity", 1)]
    rows.clear()
    supernet(text(length=1), mixing)
    # each activation once a step, on all of its predecessors together
    assert rows == [(name, step) for step in (1, 2, 3) for name in RECURRENT_PRIMITIVES[1:]]


def test_none_takes_weight_and_adds_nothing() -> None:
    _, supernet = make(steps=1, primitives=["none", "tanh"], **NO_DROPOUT)
    supernet.norm = nn.Identity()
    x = text(length=1)
    edges = {"recurrent": torch.ones(1, dtype=torch.float64)}

    def hidden(none: float, tanh: float) -> Tensor:
        ops = torch.tensor([[none, tanh]], dtype=torch.float64)
        result: Tensor = supernet(x, Mixing({"recurrent": ops}, edges)).hidden
        return result

    torch.testing.assert_close(hidden(0.75, 0.25), hidden(0.0, 1.0) / 4)
    assert not hidden(1.0, 0.0).any()


def test_gradients_of_weights_and_mixing_weights_are_finite_differences() -> None:
    factory, supernet = make(hidden=3, steps=2, **NO_DROPOUT)
    x = TextInput(torch.randint(11, (3, 4)), torch.randn(4, 3, dtype=torch.float64))
    mixing = random_mixing(factory.space)
    target = torch.randn(3, 4, 11, dtype=torch.float64)

    def loss(ops: Tensor, edges: Tensor, *weights: Tensor) -> Tensor:
        names = [name for name, _ in supernet.named_parameters()]
        given = dict(zip(names, weights, strict=True))
        call = (x, Mixing({"recurrent": ops}, {"recurrent": edges}))
        output = torch.func.functional_call(supernet, given, call)
        result: Tensor = (output.logits * target).sum()
        return result

    inputs = [mixing.ops["recurrent"], mixing.edges["recurrent"]]
    inputs += [weight.detach() for weight in supernet.parameters()]
    assert torch.autograd.gradcheck(loss, [value.requires_grad_() for value in inputs])


def test_every_part_gets_a_gradient_and_none_gets_none() -> None:
    factory = RecurrentSupernet(hidden=6)
    supernet = factory.build(SPEC, 1)
    arch = ArchitectureParameters(factory.space, SoftmaxOps(), EqualEdges())
    mixing = arch()
    supernet(TextInput(torch.randint(11, (4, 3))), mixing).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in supernet.parameters())
    alpha = arch.alpha["recurrent"].grad
    assert alpha is not None
    assert (alpha.abs().sum(dim=1) > 0).all()


def test_a_text_in_two_pieces_is_the_text_in_one() -> None:
    factory, supernet = make()
    supernet.eval()
    x, mixing = text(length=6), random_mixing(factory.space)
    whole = supernet(x, mixing)
    first = supernet(TextInput(x.tokens[:2], x.hidden), mixing)
    second = supernet(TextInput(x.tokens[2:], first.hidden), mixing)
    torch.testing.assert_close(torch.cat([first.logits, second.logits]), whole.logits)
    torch.testing.assert_close(second.hidden, whole.hidden)


def test_a_text_begins_with_zeros() -> None:
    factory, supernet = make(**NO_DROPOUT)
    x, mixing = text(), random_mixing(factory.space)
    zeros = TextInput(x.tokens, torch.zeros(3, 4, dtype=torch.float64))
    torch.testing.assert_close(
        supernet(TextInput(x.tokens), mixing).logits, supernet(zeros, mixing).logits
    )


def test_parameters_of_the_search_on_the_penn_treebank() -> None:
    with torch.device("meta"):
        supernet = RecurrentSupernet().build({"num_tokens": 10_000}, 1)
    # W0, eight W_i, embedding = decoder, bias
    by_hand = 600 * 600 + 8 * 300 * 600 + 10_000 * 300 + 10_000
    assert sum(p.numel() for p in supernet.parameters()) == by_hand == 4_810_000
    assert not list(supernet.buffers())


@pytest.mark.parametrize("seed", range(4))
def test_one_hot_mixing_computes_the_network_of_the_genotype(seed: int) -> None:
    factory, supernet = make(steps=8, **NO_DROPOUT)
    supernet.norm = nn.Identity()
    genotype = random_genotype(factory.space, seed)
    network = RecurrentNetwork(hidden=4).build(genotype, SPEC).double().eval()
    network.model.load_state_dict(supernet.model.state_dict())
    x = text()
    output, auxiliary = network(x)
    assert auxiliary is None
    mixing = one_hot(factory.space, genotype, torch.device("cpu"))
    mixed = supernet(x, mixing)
    torch.testing.assert_close(mixed.logits, output.logits)
    torch.testing.assert_close(mixed.hidden, output.hidden)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="no channels to mix a part of: K = 4"):
        RecurrentSupernet().build(SPEC, 4)
    with pytest.raises(UsageError, match="no auxiliary head"):
        RecurrentSupernet().build(SPEC, 1, auxiliary=True)
    with pytest.raises(UsageError, match=r"needs text.*only in_channels, num_classes"):
        RecurrentSupernet().build({"in_channels": 3, "num_classes": 10}, 1)
    factory, supernet = make()
    with pytest.raises(UsageError, match="at least two texts"):
        supernet(text(batch=1), random_mixing(factory.space))
