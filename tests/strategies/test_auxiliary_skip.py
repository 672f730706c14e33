"""DARTS-: what the identity adds, how it fades, where it runs, and what it leaves alone."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.search import SearchModule, SearchStrategy, one_hot
from nas_lightning.spaces import (
    ChoiceSupernet,
    DartsSupernet,
    NasBench201Supernet,
    RecurrentSupernet,
)
from nas_lightning.strategies import (
    CDARTS,
    GDAS,
    AuxiliarySkip,
    EdgeNormalization,
    PartialChannels,
    ReferenceCell,
    SkipDropout,
)
from nas_lightning.strategies.auxiliary_skip import Decay, WithAuxiliarySkips
from nas_lightning.strategies.skip_dropout import DroppedSkip
from nas_lightning.supernet import SupernetFactory
from nas_lightning.supernet.reference import MixedEdge, PartialChannelEdge
from nas_lightning.supernet.relaxation import Step
from tests.conftest import PRIMITIVES, SPEC, tiny_supernet
from tests.methods import rest_long
from tests.recorded import run, same, search
from tests.supernet.fast_cases import choose

IMAGES = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def built(
    factory: SupernetFactory, *strategies: SearchStrategy, beta: float = 0.7, seed: int = 0
) -> SearchModule:
    """A search in float64 in which β has a value."""
    lightning.seed_everything(seed, verbose=False)
    module = SearchModule(SPEC, factory, strategies=list(strategies)).double()
    for part in module.supernet.modules():
        if isinstance(part, WithAuxiliarySkips):
            part.beta.fill_(beta)
    return module


def edge_by_hand(edge: MixedEdge, x: Tensor, weights: Tensor, beta: float) -> Tensor:
    """Sum of the operations and β times the identity; all `MixedEdge.ops` but the last count."""
    terms = [w * op(x) for w, op in zip(weights, list(edge.ops)[:-1], strict=True)]
    skip = x if edge.stride == 1 else edge.ops[-1](x)
    total: Tensor = functools.reduce(torch.add, terms) + beta * skip
    return total


def partial_by_hand(edge: PartialChannelEdge, x: Tensor, weights: Tensor, beta: float) -> Tensor:
    share = x.shape[1] // edge.k
    mixed = edge_by_hand(edge.mixed, x[:, :share], weights, beta)
    bypass = x[:, share:] if edge.stride == 1 else nn.functional.max_pool2d(x[:, share:], 2)
    out = torch.cat((mixed, bypass), dim=1)
    return torch.cat([out[:, i::share] for i in range(share)], dim=1)


@pytest.mark.parametrize("k", [1, 2])
def test_an_edge_has_beta_times_its_input_more(k: int) -> None:
    strategies: Sequence[SearchStrategy] = [PartialChannels(k)] if k > 1 else []
    module = built(tiny_supernet(), *strategies, AuxiliarySkip())
    modules = module.supernet.modules()
    edges: list[Any] = [part for part in modules if isinstance(part, PartialChannelEdge)]
    edges = edges or [part for part in module.supernet.modules() if isinstance(part, MixedEdge)]
    weights = torch.rand(len(PRIMITIVES), dtype=torch.float64)
    extended = torch.cat((weights, torch.tensor([0.7]).double()))
    strides = set()
    for edge in edges:
        x = torch.randn(2, edge.mixed.channels * k, 4, 4, dtype=torch.float64)
        hand: Any = edge_by_hand if k == 1 else partial_by_hand
        torch.testing.assert_close(edge(x, extended), hand(edge, x, weights, 0.7))
        strides.add(edge.stride)
        assert isinstance(edge.mixed.ops[-1], nn.Identity) == (edge.stride == 1)
    assert strides == {1, 2}


def test_on_edges_that_halve_the_image_it_learns_no_scale_and_shift() -> None:
    module = built(tiny_supernet(), AuxiliarySkip())
    reduced = [p for p in module.supernet.modules() if isinstance(p, MixedEdge) and p.stride == 2]
    assert reduced
    for edge in reduced:
        (reduce,) = (part for part in edge.ops[-1].modules() if isinstance(part, FactorizedReduce))
        assert not reduce.norm.affine
        assert not any(name.startswith("norm") for name, _ in reduce.named_parameters())


FACTORIES: dict[str, SupernetFactory] = {
    "darts": tiny_supernet(),
    "individual": DartsSupernet(8, 3, nodes=2, primitives=PRIMITIVES, individual=True),
    "nas_bench_201": NasBench201Supernet(4, 1),
}
METHODS: dict[str, Sequence[SearchStrategy]] = {
    "plain": [],
    "partial channels": [PartialChannels(2), EdgeNormalization()],
    "one operation": [GDAS()],
}


@pytest.mark.parametrize("size", rest_long(["small", "large"], keep=["small"]))
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("strategies", METHODS.values(), ids=METHODS)
def test_the_fast_cell_is_the_reference_cell(
    factory: SupernetFactory,
    strategies: Sequence[SearchStrategy],
    size: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Outputs and gradients of weights, α and β, in training and in evaluation."""
    choose(size, monkeypatch)
    found = []
    for extra in ([], [ReferenceCell()]):
        module = built(factory, *strategies, AuxiliarySkip(), *extra)
        for training in (True, False):
            module.supernet.train(training)
            out = module.supernet(IMAGES, module.arch.sample("arch"))
            values = [*module.arch.parameters(), *module.supernet.parameters()]
            slopes = torch.autograd.grad(out.square().sum(), values, materialize_grads=True)
            found.append([out.detach(), *slopes])
    assert not torch.equal(found[0][0], found[1][0])
    for fast, reference in zip(found[:2], found[2:], strict=True):
        for one, other in zip(fast, reference, strict=True):
            scale = max(float(other.abs().max()), 1e-2)
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_evaluation_is_that_of_the_ordinary_supernet(factory: SupernetFactory) -> None:
    """Also on the cells of a genotype, whatever β is."""
    module, plain = built(factory, AuxiliarySkip()), built(factory)
    own = module.supernet.state_dict()
    plain.supernet.load_state_dict(
        {name: own[f"supernet.{name}"] for name in plain.supernet.state_dict()}
    )
    cells = one_hot(module.space, module.genotype(), torch.device("cpu"))
    for mixing in (module.arch(), cells):
        module.eval(), plain.eval()
        evaluated = [each.supernet(IMAGES, mixing) for each in (module, plain)]
        torch.testing.assert_close(*evaluated, rtol=1e-12, atol=1e-13)
    module.train(), plain.train()
    trained = [each.supernet(IMAGES, module.arch()) for each in (module, plain)]
    assert not torch.allclose(*trained)


def test_without_beta_the_search_is_that_of_darts(tmp_path: Path) -> None:
    traces = [run(strategies, tmp_path).trace for strategies in ([], [AuxiliarySkip(0.0)])]
    assert same(*traces)


class Watched(SearchStrategy):
    """Keeps β of each batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        assert isinstance(pl_module, SearchModule)
        assert isinstance(pl_module.supernet, WithAuxiliarySkips)
        self.seen.append(float(pl_module.supernet.beta))


COURSES: dict[Decay, list[float]] = {
    "linear": [1, 2 / 3, 1 / 3, 0],
    "cosine": [1, 0.75, 0.25, 0],
    "slow_cosine": [1, math.cos(math.pi / 6), 0.5, 0],
}


@pytest.mark.parametrize("decay", COURSES)
def test_beta_falls_to_zero_in_the_last_epoch(decay: Decay, tmp_path: Path) -> None:
    watched = Watched()
    settings = {"max_epochs": 4, "limit_train_batches": 1, "limit_val_batches": 0}
    run([AuxiliarySkip(0.8, decay), watched], tmp_path, **settings)
    assert watched.seen == pytest.approx([0.8 * share for share in COURSES[decay]], rel=1e-12)
    assert watched.seen[-1] == 0


def test_both_steps_have_it_and_alpha_has_no_column_for_it(tmp_path: Path) -> None:
    module = search([AuxiliarySkip()])
    assert {tuple(alpha.shape) for alpha in module.arch.alpha.values()} == {(5, len(PRIMITIVES))}
    assert isinstance(module.supernet, WithAuxiliarySkips)
    module.supernet.beta.fill_(0.5)
    steps: tuple[Step, ...] = ("weight", "arch")
    for step in steps:
        extended = module.supernet.extended(module.arch.sample(step))
        for weights in extended.ops.values():
            assert torch.equal(weights[:, -1], torch.full((5,), 0.5))
            assert not extended.active


@pytest.mark.parametrize("first", [True, False])
def test_dropout_after_skip_connections_is_not_for_it(first: bool) -> None:
    both: list[SearchStrategy] = [AuxiliarySkip(), SkipDropout()]
    module = search(both if first else both[::-1])
    column = PRIMITIVES.index("skip_connect")
    edges = [p for p in module.supernet.modules() if isinstance(p, MixedEdge) and p.stride == 1]
    assert edges
    for edge in edges:
        assert isinstance(edge.ops[column], DroppedSkip)
        assert isinstance(edge.ops[-1], nn.Identity)


@pytest.mark.parametrize("first", [True, False])
def test_a_strategy_that_reads_the_cells_is_refused(first: bool) -> None:
    both: list[SearchStrategy] = [AuxiliarySkip(), CDARTS()]
    with pytest.raises(UsageError, match=r"^conflicting strategies: AuxiliarySkip .* CDARTS"):
        search(both if first else both[::-1])


def test_supernets_without_cells_of_images_are_refused() -> None:
    factories = [
        ChoiceSupernet("tests.spaces.choice.networks.Chain"), RecurrentSupernet()
    ]  # fmt: skip
    spec: dict[str, Any] = {**SPEC, "num_tokens": 8}
    for factory in factories:
        with pytest.raises(UsageError, match=r"^AuxiliarySkip adds an identity .* has none"):
            SearchModule(spec, factory, strategies=[AuxiliarySkip()])
