"""Depthwise convolutions that are learned by strips."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu.depthwise import by_strips, depthwise
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


def test_only_where_it_pays_and_types_do_not_change() -> None:
    x, kernel = torch.zeros(2, 4, 8, 8), torch.zeros(4, 1, 5, 5)
    assert by_strips(x, kernel)
    assert by_strips(x.double(), kernel.double())
    assert not by_strips(x, kernel[..., :3])
    assert by_strips(x[..., :2, :2], kernel[..., :3])
    assert not by_strips(x[:, :1], kernel)
    assert not by_strips(x.bfloat16(), kernel.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_strips(x, kernel)
