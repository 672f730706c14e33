"""The inverted bottleneck: against torchvision's MobileNetV2, and its number of parameters."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from nas_lightning.errors import UsageError
from nas_lightning.layers import ClassificationHead, MBConv, conv_norm
from nas_lightning.layers.drop_path import set_drop_path

# expansion, channels, number and stride of MobileNetV2's blocks (Sandler et al., table 2)
TABLE = [
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
]


def mobilenet() -> nn.Sequential:
    layers: list[nn.Module] = [conv_norm(3, 32, 3, 2)]
    channels = 32
    for expansion, outputs, number, stride in TABLE:
        for row in range(number):
            layers.append(MBConv(channels, outputs, 3, expansion, stride if row == 0 else 1))
            channels = outputs
    return nn.Sequential(*layers, conv_norm(320, 1280), ClassificationHead(1280, 1000))


def test_a_chain_of_them_is_mobilenet_v2_of_torchvision() -> None:
    """With its weights, in its order; 3,504,872 parameters are published."""
    own, other = mobilenet(), mobilenet_v2()
    assert sum(p.numel() for p in own.parameters()) == 3_504_872
    state = [*other.state_dict().values()]
    names = own.state_dict().keys()
    assert len(names) == len(state)
    own.load_state_dict(dict(zip(names, state, strict=True)))
    x = torch.randn(2, 3, 64, 64)
    for train in (False, True):
        other.train(train)
        other.classifier.eval()  # without dropout
        torch.testing.assert_close(own.train(train)(x), other(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("expansion", [1, 3, 6])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("outputs", "stride"), [(16, 1), (24, 1), (16, 2)])
def test_parameters_and_shape(expansion: int, kernel: int, outputs: int, stride: int) -> None:
    block = MBConv(16, outputs, kernel, expansion, stride, activation="relu")
    h = 16 * expansion
    widen = 16 * h + 2 * h if expansion > 1 else 0
    found = sum(p.numel() for p in block.parameters())
    assert found == widen + (kernel**2 + 2) * h + (h + 2) * outputs
    assert block(torch.randn(2, 16, 9, 9)).shape == (2, outputs, -(-9 // stride), -(-9 // stride))


def test_the_input_is_added_only_where_it_fits() -> None:
    x = torch.randn(2, 4, 6, 6)
    for outputs, stride, added in ((4, 1, True), (5, 1, False), (4, 2, False)):
        block = MBConv(4, outputs, 3, 2, stride)
        out = block(x)
        inner = block.body(x)
        assert torch.equal(out, x + inner if added else inner)


def test_drop_path_leaves_the_input() -> None:
    block = MBConv(4, 4)
    x = torch.randn(64, 4, 6, 6)
    set_drop_path(block, 0.5)
    unchanged = (block.train()(x) == x).flatten(1).all(dim=1)
    assert 10 < int(unchanged.sum()) < 54
    assert not (block.eval()(x) == x).flatten(1).all(dim=1).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": 4}, "kernel must be odd, found 4"),
        ({"kernel": 0}, "kernel must be at least 1 and at most 100, found 0"),
        ({"expansion": 0}, "expansion must be at least 1"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"inputs": 0}, "inputs must be at least 1"),
        ({"outputs": 0.5}, "outputs must be a whole number"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"MBConv: {message}"):
        MBConv(**{"inputs": 4, "outputs": 4, **arguments})
