from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.primitives import (
    PRIMITIVES,
    RETRAIN_NORM,
    FactorizedReduce,
    NormRule,
    StridedPointwise,
)
from nas_lightning.spaces import DARTS_PRIMITIVES

SEARCH_NORM = NormRule(affine=False, after_pool=True, running_stats=False)
NO_NORM = NormRule(affine=False, after_pool=False, running_stats=True)
"""In evaluation a new batch norm of this rule only divides by sqrt(1 + 1e-5)."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def bare(name: str, channels: int = 1, stride: int = 1) -> nn.Module:
    """Build the operation with all weights one and without normalisation."""
    op = PRIMITIVES[name](channels, stride, NO_NORM).eval()
    for parameter in op.parameters():
        nn.init.ones_(parameter)
    return op


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [4, 8])
@pytest.mark.parametrize("norm", [SEARCH_NORM, RETRAIN_NORM])
def test_shape(name: str, stride: int, channels: int, norm: NormRule) -> None:
    out = PRIMITIVES[name](channels, stride, norm)(torch.randn(2, channels, 8, 8))
    assert out.shape == (2, channels, 8 // stride, 8 // stride)


def _sep(k: int) -> Callable[[int], int]:
    return lambda c: 2 * (k * k * c + c * c)  # depthwise and pointwise, twice


def _dil(k: int) -> Callable[[int], int]:
    return lambda c: k * k * c + c * c


WEIGHTS: dict[str, Callable[[int], int]] = {
    "none": lambda c: 0,
    "max_pool_3x3": lambda c: 0,
    "avg_pool_3x3": lambda c: 0,
    "sep_conv_3x3": _sep(3),
    "sep_conv_5x5": _sep(5),
    "sep_conv_7x7": _sep(7),
    "dil_conv_3x3": _dil(3),
    "dil_conv_5x5": _dil(5),
    "conv_7x1_1x7": lambda c: 2 * 7 * c * c,
}
NORMS = {"sep": 2, "dil": 1, "con": 1}  # batch norms in retraining, by the operation's prefix


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_parameter_count(name: str, stride: int) -> None:
    for channels in (4, 6):
        weights = WEIGHTS[name](channels)
        assert count(PRIMITIVES[name](channels, stride, SEARCH_NORM)) == weights
        scales = 2 * channels * NORMS.get(name[:3], 0)
        assert count(PRIMITIVES[name](channels, stride, RETRAIN_NORM)) == weights + scales


def test_parameter_count_of_a_skip_connection() -> None:
    for channels in (4, 6):
        assert count(PRIMITIVES["skip_connect"](channels, 1, RETRAIN_NORM)) == 0
        assert count(PRIMITIVES["skip_connect"](channels, 2, SEARCH_NORM)) == channels**2
        retrain = PRIMITIVES["skip_connect"](channels, 2, RETRAIN_NORM)
        assert count(retrain) == channels**2 + 2 * channels


NORMALISED = [
    (name, stride)
    for name in DARTS_PRIMITIVES
    for stride in (1, 2)
    if name != "none" and (name, stride) != ("skip_connect", 1)
]


@pytest.mark.parametrize(("name", "stride"), NORMALISED)
def test_search_normalises_every_operation_but_none_and_identity(name: str, stride: int) -> None:
    # makes the outputs of an edge comparable (author of DARTS, issue 10)
    out = PRIMITIVES[name](4, stride, SEARCH_NORM)(5 + 3 * torch.randn(16, 4, 8, 8))
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    # not exactly 1: batch norm adds 1e-5 to small variances
    torch.testing.assert_close(out.var((0, 2, 3), correction=0), torch.ones(4), atol=0.05, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_retrain_pools_are_plain_pools(stride: int) -> None:
    x = torch.randn(2, 4, 8, 8)
    largest = F.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, stride).unfold(3, 3, stride)
    out = PRIMITIVES["max_pool_3x3"](4, stride, RETRAIN_NORM)(x)
    assert torch.equal(out, largest.amax((-2, -1)))


@pytest.mark.parametrize("stride", [1, 2])
def test_average_pooling_does_not_count_the_padding(stride: int) -> None:
    out = PRIMITIVES["avg_pool_3x3"](2, stride, RETRAIN_NORM)(torch.full((1, 2, 8, 8), 7.0))
    torch.testing.assert_close(out, torch.full((1, 2, 8 // stride, 8 // stride), 7.0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("value", [1.0, torch.nan, torch.inf])
def test_none_is_zero_for_every_input(stride: int, value: float) -> None:
    out = PRIMITIVES["none"](2, stride, SEARCH_NORM)(torch.full((1, 2, 8, 8), value))
    assert torch.equal(out, torch.zeros(1, 2, 8 // stride, 8 // stride))


REACH: dict[str, set[int]] = {
    "none": set(),
    "skip_connect": {0},
    "max_pool_3x3": {-1, 0, 1},
    "avg_pool_3x3": {-1, 0, 1},
    "sep_conv_3x3": set(range(-2, 3)),  # a kernel of 3 applied twice
    "sep_conv_5x5": set(range(-4, 5)),
    "sep_conv_7x7": set(range(-6, 7)),
    "dil_conv_3x3": {-2, 0, 2},
    "dil_conv_5x5": {-4, -2, 0, 2, 4},
    "conv_7x1_1x7": set(range(-3, 4)),
}


@pytest.mark.parametrize("name", REACH)
def test_a_pixel_changes_only_the_outputs_within_reach(name: str) -> None:
    op, centre = bare(name), 8
    image = torch.ones(1, 1, 17, 17)
    moved = image.clone()
    moved[0, 0, centre, centre] = 2.0
    difference = (op(moved) - op(image))[0, 0]
    found = {(int(y) - centre, int(x) - centre) for y, x in difference.nonzero()}
    assert found == {(y, x) for y in REACH[name] for x in REACH[name]}


@pytest.mark.parametrize("name", ["sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"])
@pytest.mark.parametrize("stride", [1, 2])
def test_separable_convolution_is_twice_relu_depthwise_pointwise_norm(
    name: str, stride: int
) -> None:
    op = PRIMITIVES[name](4, stride, SEARCH_NORM)
    x = torch.randn(3, 4, 8, 8)
    depth1, point1, depth2, point2 = op.parameters()
    pad = int(name[-1]) // 2
    out = F.conv2d(F.conv2d(x.relu(), depth1, None, stride, pad, groups=4), point1)
    out = F.batch_norm(out, None, None, training=True)
    out = F.conv2d(F.conv2d(out.relu(), depth2, None, 1, pad, groups=4), point2)
    torch.testing.assert_close(op(x), F.batch_norm(out, None, None, training=True))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_dilated_convolution_is_once_relu_depthwise_pointwise_norm(
    kernel: int, stride: int
) -> None:
    op = PRIMITIVES[f"dil_conv_{kernel}x{kernel}"](4, stride, SEARCH_NORM)
    x = torch.randn(3, 4, 8, 8)
    depth, point = op.parameters()
    # a dilated kernel is a larger one with zeros in between
    spread = torch.zeros(4, 1, 2 * kernel - 1, 2 * kernel - 1)
    spread[:, :, ::2, ::2] = depth.detach()
    out = F.conv2d(F.conv2d(x.relu(), spread, None, stride, kernel - 1, groups=4), point)
    torch.testing.assert_close(op(x), F.batch_norm(out, None, None, training=True))


def test_factorized_reduce_reads_both_diagonal_phases() -> None:
    # its two convolutions read the pixels (even, even) and (odd, odd), as in the released code
    x = torch.ones(1, 1, 6, 6, requires_grad=True)
    op = FactorizedReduce(1, 2, NO_NORM).eval()
    for parameter in op.parameters():
        nn.init.ones_(parameter)
    out: Tensor = op(x)
    expected = []
    for channel in range(2):
        (gradient,) = torch.autograd.grad(out[0, channel].sum(), x, retain_graph=True)
        rows = {(int(y) % 2, int(column) % 2) for y, column in gradient[0, 0].nonzero()}
        assert int((gradient != 0).sum()) == 9
        expected.append(rows)
    assert expected == [{(0, 0)}, {(1, 1)}]


def test_factorized_reduce_against_slices() -> None:
    op = FactorizedReduce(3, 4, SEARCH_NORM)
    x = torch.randn(2, 3, 6, 6)
    even, odd = (weight[:, :, 0, 0] for weight in op.parameters())
    halves = (
        torch.einsum("oi,bihw->bohw", even, x.relu()[:, :, 0::2, 0::2]),
        torch.einsum("oi,bihw->bohw", odd, x.relu()[:, :, 1::2, 1::2]),
    )
    expected = F.batch_norm(torch.cat(halves, 1), None, None, training=True)
    torch.testing.assert_close(op(x), expected)


def test_without_running_statistics_evaluation_uses_the_batch() -> None:
    x = 3 + 2 * torch.randn(8, 4, 4, 4)
    search, retrain = (rule(4) for rule in (SEARCH_NORM, RETRAIN_NORM))
    torch.testing.assert_close(search.eval()(x), F.batch_norm(x, None, None, training=True))
    torch.testing.assert_close(retrain.eval()(x), x / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shift", [0, 1])
def test_a_strided_pointwise_convolution_in_either_format(
    layout: torch.memory_format, shift: int
) -> None:
    """In single precision and with these sizes oneDNN's own gradient ends some processes."""
    conv = StridedPointwise(8, 4, 1, stride=2, bias=False).to(memory_format=layout)
    x = torch.randn(4, 8, 56, 56).contiguous(memory_format=layout).requires_grad_()
    conv(x[:, :, shift:, shift:]).square().sum().backward()
    exact, kernel = (value.detach().double().requires_grad_() for value in (x, conv.weight))
    picked = exact[:, :, shift::2, shift::2]
    wanted_out = torch.einsum("bihw,oi->bohw", picked, kernel[..., 0, 0])
    wanted_out.square().sum().backward()  # type: ignore[no-untyped-call]
    for found, wanted in ((x.grad, exact.grad), (conv.weight.grad, kernel.grad)):
        assert found is not None
        assert wanted is not None
        assert torch.allclose(found.double(), wanted, rtol=1e-4, atol=1e-3)
