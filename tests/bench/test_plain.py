"""The plain supernet computes what the reference and the fast cells compute."""

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.bench.plain import PlainDarts
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DARTS_PRIMITIVES, DartsSupernet
from nas_lightning.strategies import (
    GDAS,
    CheckpointCells,
    EdgeNormalization,
    PartialChannels,
    ReferenceCell,
)
from tests.conftest import SPEC

SIZES = {"channels": 8, "layers": 4, "nodes": 3, "primitives": DARTS_PRIMITIVES}


def search(strategies: list[SearchStrategy], plain: bool = False) -> SearchModule:
    torch.manual_seed(0)
    factory = (PlainDarts if plain else DartsSupernet)(**SIZES)  # type: ignore[arg-type]
    return SearchModule(SPEC, factory, strategies=strategies).double()


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Both list their parameters in the order of the network, under names of their own."""
    pairs = zip(source.parameters(), target.parameters(), strict=True)
    with torch.no_grad():
        for value, place in pairs:
            assert value.shape == place.shape
            place.copy_(value)


def output_and_gradients(module: SearchModule) -> list[Tensor]:
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.manual_seed(1))
    module.arch.generator.manual_seed(3)
    out = module.supernet(images, module.arch.sample("arch"))
    parameters = [*module.supernet.parameters(), *module.arch.parameters()]
    gradients = torch.autograd.grad(out.square().sum(), parameters, materialize_grads=True)
    return [out.detach(), *gradients]


@pytest.mark.parametrize(
    "method", [[], [PartialChannels(4), EdgeNormalization()], [GDAS()]], ids=["k1", "k4", "gdas"]
)
def test_three_implementations_agree(method: list[SearchStrategy]) -> None:
    plain = search(method, plain=True)
    found = []
    for module in (search(method), search([*method, ReferenceCell()]), plain):
        copy_weights(plain.supernet, module.supernet)
        generator = torch.manual_seed(2)
        with torch.no_grad():
            for arch in module.arch.parameters():
                arch.copy_(torch.randn(arch.shape, generator=generator))
        found.append(output_and_gradients(module))
    fast, reference, plainly = found
    for other in (fast, reference):
        for value, expected in zip(other, plainly, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-7, atol=1e-9)


def test_it_says_what_it_does_not_do() -> None:
    factory = PlainDarts(channels=8, layers=3, individual=True)
    with pytest.raises(UsageError, match="no individual cells"):
        factory.build(SPEC, 1)
    with pytest.raises(UsageError, match="one way only"):
        search([CheckpointCells()], plain=True)
