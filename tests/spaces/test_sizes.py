"""Sizes of networks: the smallest that work, and the next ones, which are refused by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import (
    DartsNetwork,
    DartsSupernet,
    NasBench201Network,
    NasBench201Supernet,
)
from nas_lightning.strategies import PartialChannels
from nas_lightning.supernet import SupernetFactory
from tests.conftest import PRIMITIVES

STRING = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
)


def spec(image_size: int = 8, num_classes: int = 2) -> dict[str, int]:
    return {"in_channels": 1, "num_classes": num_classes, "image_size": image_size}


def darts(channels: int = 2, layers: int = 3, **kwargs: Any) -> DartsSupernet:
    return DartsSupernet(channels, layers, **{"nodes": 1, "primitives": PRIMITIVES, **kwargs})


def searched(factory: SupernetFactory, sizes: dict[str, int], *strategies: Any) -> Tensor:
    """Return the logits of a batch; every α must get a gradient."""
    module = SearchModule(sizes, factory, strategies=list(strategies))
    size = sizes["image_size"]
    logits: Tensor = module.supernet(torch.randn(2, 1, size, size), module.arch())
    found = torch.autograd.grad(logits.sum(), list(module.arch.parameters()), allow_unused=True)
    assert all(gradient is not None for gradient in found)
    return logits


def retrained(factory: Any, sizes: dict[str, int], genotype: str = "DARTS_V2") -> Tensor:
    module = RetrainModule(sizes, genotype, factory, auxiliary_weight=0.0)
    size = sizes["image_size"]
    logits: Tensor = module.network(torch.randn(2, 1, size, size))[0]
    return logits


@pytest.mark.parametrize(
    "logits",
    [
        lambda: searched(darts(channels=2, stem_multiplier=1), spec(4)),
        lambda: searched(darts(channels=3), spec(8)),
        lambda: searched(darts(channels=2, stem="imagenet", stem_multiplier=1), spec(32)),
        lambda: searched(darts(layers=1, individual=True), spec(8)),
        lambda: searched(darts(channels=4), spec(8), PartialChannels(2)),
        lambda: searched(NasBench201Supernet(2, 1), spec(4)),
        lambda: retrained(DartsNetwork(1, 1), spec(8)),
        lambda: retrained(DartsNetwork(2, 3, "imagenet"), spec(32)),
        lambda: retrained(NasBench201Network(1, 1), spec(4), STRING),
    ],
)
def test_the_smallest_networks_work(logits: Callable[[], Tensor]) -> None:
    found = logits()
    assert found.shape == (2, 2)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: darts(channels=-4), "DartsSupernet: channels must be at least 2 .*found -4"),
        (lambda: darts(channels=1), "DartsSupernet: channels must be at least 2 .*found 1"),
        (lambda: darts(nodes=0), "nodes must be at least 1 and at most 100, found 0"),
        (lambda: searched(darts(layers=2), spec()), "2 layers has no normal cell.*set layers to 3"),
        (lambda: searched(darts(), spec(6)), "6x6 pixels are 3x3 before reduction cell 2"),
        (lambda: searched(darts(), spec(num_classes=1)), "at least 2 classes, found 1"),
        (lambda: searched(darts(), spec(num_classes=0)), r"num_classes'\] must be .* at least 1"),
        (lambda: searched(darts(), spec(), PartialChannels(2)), "partial channels: K = 2 must"),
        (lambda: searched(NasBench201Supernet(2, 1), spec(6)), "6x6 pixels are 3x3 before"),
        (lambda: searched(NasBench201Supernet(1, 1), spec()), "channels must be at least 2"),
        (lambda: retrained(DartsNetwork(0, 3), spec()), "channels must be at least 1"),
        (lambda: retrained(DartsNetwork(4, -1), spec()), "DartsNetwork: layers must be at least 1"),
        (lambda: retrained(DartsNetwork(1, 3, "imagenet"), spec(32)), "needs at least 2 chann"),
        (lambda: retrained(NasBench201Network(1, 1), spec(2), STRING), "2x2 pixels are 1x1 before"),
    ],
)  # fmt: skip
def test_smaller_ones_are_refused_by_name(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)
