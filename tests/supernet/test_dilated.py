"""Dilated convolutions whose kernels are learned by grids."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.cpu.dilated import _grids, dilated, learned_by_grids
from tests.supernet.gradients import assert_like


@pytest.mark.parametrize(
    ("kernel", "padding"), [((3, 3), (1, 1)), ((5, 5), (2, 2)), ((3, 1), (1, 0))]
)
@pytest.mark.parametrize(("d", "size"), [(2, (4, 6)), (3, (3, 6))])
def test_a_dilated_convolution_learned_by_grids(
    kernel: tuple[int, int], padding: tuple[int, int], d: int, size: tuple[int, int]
) -> None:
    """Against finite differences, twice, and PyTorch's own, also if kernels exceed the grids."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, *size, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(3, 2, *kernel, dtype=torch.float64, generator=generator)
    weight.requires_grad_()

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return dilated(x, weight, padding, d)

    assert_like(run, F.conv2d(x, weight, padding=[d * p for p in padding], dilation=d), x, weight)


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [(2, torch.float32), (4, torch.float32), (2, torch.float64), (4, torch.bfloat16)],
)
def test_few_channels_move_as_one_number(channels: int, dtype: torch.dtype) -> None:
    """Also of images in PyTorch's own format; with a gradient they move one by one."""
    x = torch.randn(3, channels, 4, 6, dtype=dtype, requires_grad=True)
    with torch.no_grad():
        found = _grids(x, 2)
    assert torch.equal(found, _grids(x, 2))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found[3:6], x[:, :, ::2, 1::2])


@pytest.mark.parametrize("fast", [True, False])
def test_only_of_large_images_and_in_fast_types(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "BFLOAT16", fast)
    assert learned_by_grids(torch.zeros(1, 4, 16, 16))
    assert learned_by_grids(torch.zeros(1, 16, 8, 8))
    assert not learned_by_grids(torch.zeros(64, 2, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        assert learned_by_grids(torch.zeros(1, 4, 16, 16)) == fast
