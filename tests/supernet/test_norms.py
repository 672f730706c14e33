"""Batch norms that run as one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu.thresholds import NORM_PIXELS, NORM_WIDTH
from nas_lightning.supernet.fast.norms import NormInput, normalized


@pytest.mark.parametrize("pixels", [NORM_PIXELS // 2, NORM_PIXELS])
def test_few_channels_stay_side_by_side_where_pixels_are_many(pixels: int) -> None:
    norm = nn.BatchNorm2d(1, affine=False, track_running_stats=False)
    widths = (4, 6, NORM_WIDTH)
    xs = [torch.randn(pixels, width, 1, 1, dtype=torch.float64) for width in widths]
    scale = torch.rand(6, dtype=torch.float64)
    expected = [F.batch_norm(x, None, None, training=True) for x in xs]
    expected[1] = expected[1] * scale[:, None, None]
    last = [
        NormInput(xs[0], [norm]), NormInput(xs[1], [norm], scale), NormInput(xs[2], [norm])
    ]  # fmt: skip
    inner = [NormInput(xs[0], [norm], rectify=True)]
    alone, beside, (between,) = normalized(last, inner)
    torch.testing.assert_close(between, expected[0].relu())
    torch.testing.assert_close(alone[2], expected[2])
    if pixels < NORM_PIXELS:
        assert beside is None
        torch.testing.assert_close(alone[:2], expected[:2])
    else:
        assert alone[:2] == [None, None]
        zeros = torch.zeros(pixels, NORM_WIDTH - 10, 1, 1, dtype=torch.float64)
        torch.testing.assert_close(beside, torch.cat([*expected[:2], zeros], dim=1))
