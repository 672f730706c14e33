"""Pools of images side by side."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.supernet.fast.cpu import pools
from nas_lightning.supernet.fast.cpu.pools import pooled


@pytest.mark.parametrize("shape", [(6, 2, 8, 8), (64, 4, 8, 9), (10, 1, 4, 4), (12, 15, 16, 16)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("low", [torch.contiguous_format, torch.channels_last])
def test_every_channel_is_pooled_by_itself(
    shape: tuple[int, int, int, int],
    stride: int,
    low: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = [nn.MaxPool2d(3, stride, 1), nn.AvgPool2d(3, stride, 1, count_include_pad=False)]
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=low).requires_grad_()
    calls: list[int] = []
    own = pools.side_by_side

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments[2])
        return own(*arguments)

    monkeypatch.setattr(pools, "side_by_side", counted)
    found, expected = pooled(both, x), torch.cat([pool(x) for pool in both], dim=1)
    assert calls[0] > 1
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(out.pow(3).sum(), x) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
