"""Depthwise convolutions that are learned by strips."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.cpu.depthwise import by_single_precision, by_strips, depthwise
from tests.supernet.gradients import assert_like


@pytest.mark.parametrize("kernel", [(3, 4), (5, 5), (2, 6), (7, 7), (3, 8), (3, 3), (2, 2)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (3, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
def test_a_depthwise_convolution_learned_by_strips(
    kernel: tuple[int, int], padding: tuple[int, int], stride: tuple[int, int]
) -> None:
    """Against finite differences, twice, and against PyTorch's own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, 7, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(2, 1, *kernel, dtype=torch.float64, generator=generator)
    weight.requires_grad_()

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return depthwise(x, weight, padding, stride)

    assert_like(run, F.conv2d(x, weight, padding=padding, stride=stride, groups=2), x, weight)


def test_only_where_it_pays() -> None:
    x, kernel = torch.zeros(2, 4, 8, 8), torch.zeros(4, 1, 5, 5)
    assert by_strips(x, kernel)
    assert by_strips(x.double(), kernel.double())
    assert not by_strips(x, kernel[..., :3])
    assert by_strips(x[..., :2, :2], kernel[..., :3])
    assert not by_strips(x[:, :1], kernel)


@pytest.mark.parametrize("fast", [True, False])
def test_in_bfloat16_only_on_a_cpu_that_computes_in_it(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "BFLOAT16", fast)
    x, kernel = torch.zeros(2, 4, 8, 8), torch.zeros(4, 1, 5, 5)
    assert by_strips(x.bfloat16(), kernel.bfloat16()) == fast
    assert by_single_precision(x.bfloat16(), kernel.bfloat16(), (2, 2)) == fast
    assert not by_single_precision(x, kernel, (2, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert by_strips(x, kernel) == fast
        assert by_single_precision(x, kernel, (2, 2)) == fast
        assert not by_single_precision(x, kernel, (1, 1))
        assert not by_single_precision(x[:, :1], kernel[:1].repeat(4, 1, 1, 1), (2, 2))
        assert not by_single_precision(x.double(), kernel.double(), (2, 2))
