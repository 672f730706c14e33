"""Supernets of fast cells against those of reference cells."""

import pytest
import torch
from torch.nn import functional as F

from nas_lightning.bench.counters import Dispatched
from nas_lightning.spaces import (
    DartsSupernet,
    NasBench201Supernet,
)
from nas_lightning.supernet import (
    CellExecution,
    Supernet,
    SupernetFactory,
    reference_cell,
)
from nas_lightning.supernet.fast import (
    constants,
    nodes,
)
from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.reference import reference_preprocess
from tests.supernet.fast_cases import choose, mixing


@pytest.fixture(autouse=True, params=["large", "small"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(request.param, monkeypatch)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("fast", sorted({False, thresholds.BFLOAT16}))
def test_bfloat16_is_single_precision_roughly(
    k: int, mixed: bool, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under autocast, and for a network of bfloat16 weights; in both ways that the CPU has."""
    monkeypatch.setattr(thresholds, "BFLOAT16", fast)
    factory = DartsSupernet(channels=8, layers=3, nodes=2)
    torch.manual_seed(0)
    network = factory.build({**SPEC, "image_size": 32}, k)
    x = torch.randn(8, 3, 32, 32)
    found = []
    nodes._fixed.forget()  # type: ignore[attr-defined] # made under autocast by whoever is first
    for low in (True, False) if mixed else (False, True):
        if low and not mixed:
            network, x = network.bfloat16(), x.bfloat16()
        with torch.autocast("cpu", torch.bfloat16, enabled=low and mixed):
            loss = F.cross_entropy(network(x, mixing(factory)).float(), torch.arange(8) % 5)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        found.append(
            (loss.detach(), torch.cat([gradient.float().flatten() for gradient in gradients]))
        )
    found = found[::-1] if mixed else found
    assert float(found[1][0]) == pytest.approx(float(found[0][0]), rel=0.05)
    assert F.cosine_similarity(found[0][1], found[1][1], dim=0) > 0.9


FACTORIES: dict[str, tuple[SupernetFactory, int]] = {
    "darts": (DartsSupernet(channels=8, layers=3, nodes=2), 2),
    "individual": (DartsSupernet(channels=4, layers=3, nodes=2, individual=True), 1),
    "nas_bench_201": (NasBench201Supernet(channels=4, cells=1), 1),
}
SPEC = {"in_channels": 3, "num_classes": 5, "image_size": 8}


def pair(name: str) -> tuple[Supernet, Supernet]:
    """A reference and a fast supernet, of which one has loaded the other's state."""
    factory, k = FACTORIES[name]
    torch.manual_seed(0)
    first = factory.build(
        SPEC, k, execution=CellExecution(reference_cell, reference_preprocess)
    ).double()
    second = factory.build(SPEC, k).double()
    second.load_state_dict(first.state_dict())
    return first, second


@pytest.mark.parametrize("name", FACTORIES)
def test_state_dicts_load_into_either_supernet_which_then_agree(name: str) -> None:
    weights = mixing(FACTORIES[name][0])
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    outputs = []
    for network in pair(name):
        out = network(x, weights)
        gradients = torch.autograd.grad(
            F.cross_entropy(out, torch.arange(4)), list(network.parameters())
        )
        outputs.append([out, *gradients])
    for first, second in zip(*outputs, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-9, atol=1e-12)
    first, second = pair(name)
    first.load_state_dict(second.state_dict())


@pytest.mark.parametrize("name", FACTORIES)
def test_a_checkpointed_supernet_gives_the_same_bits_and_keeps_less(name: str) -> None:
    factory, k = FACTORIES[name]
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    found, peaks = [], []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        network = factory.build(SPEC, k, execution=CellExecution(checkpoint=checkpoint)).double()
        with Dispatched() as counted:
            loss = network(x, mixing(factory)).square().sum()
            gradients = torch.autograd.grad(loss, list(network.parameters()))
        peaks.append(counted.peak_bytes)
        found.append([loss, *gradients])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    assert peaks[1] < 0.85 * peaks[0]


def test_a_checkpointed_graph_that_is_kept_gives_its_gradient_again() -> None:
    factory = DartsSupernet(channels=4, layers=3, nodes=2)
    network = factory.build(SPEC, 1, execution=CellExecution(checkpoint=True)).double()
    loss = network(torch.randn(4, 3, 8, 8, dtype=torch.float64), mixing(factory)).sum()
    weights = list(network.parameters())
    first = torch.autograd.grad(loss, weights, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, weights), strict=True):
        assert torch.equal(a, b)


def test_a_checkpointed_cell_moves_running_statistics_once() -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    states = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        factory = DartsSupernet(channels=4, layers=3, nodes=2, running_stats=True)
        network = factory.build(SPEC, 1, execution=CellExecution(checkpoint=checkpoint)).double()
        network(x, mixing(factory)).sum().backward()
        states.append(network.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_what_evaluation_kept_serves_training() -> None:
    """Lightning evaluates in inference mode, whose tensors no gradient may be taken through."""
    for cached in (constants.index, constants.identity, nodes._fixed):
        cached.forget()  # type: ignore[union-attr] # set by made_once
    factory = DartsSupernet(channels=8, layers=3, nodes=2)
    network = factory.build(SPEC, 2).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.inference_mode():
        network(x, mixing(factory))
    network(x, mixing(factory)).sum().backward()
