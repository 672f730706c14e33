"""Batch norms that run as one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.norms import PIXELS, WIDE, Part, normalized


@pytest.mark.parametrize("pixels", [PIXELS // 2, PIXELS])
def test_few_channels_stay_side_by_side_where_pixels_are_many(pixels: int) -> None:
    norm = nn.BatchNorm2d(1, affine=False, track_running_stats=False)
    widths = (4, 6, WIDE)
    xs = [torch.randn(pixels, width, 1, 1, dtype=torch.float64) for width in widths]
    scale = torch.rand(6, dtype=torch.float64)
    expected = [F.batch_norm(x, None, None, training=True) for x in xs]
    expected[1] = expected[1] * scale[:, None, None]
    parts = [Part(xs[0], [norm]), Part(xs[1], [norm], scale), Part(xs[2], [norm])]
    alone, beside, (going,) = normalized(parts, [Part(xs[0], [norm], rectify=True)])
    torch.testing.assert_close(going, expected[0].relu())
    torch.testing.assert_close(alone[2], expected[2])
    if pixels < PIXELS:
        assert beside is None
        torch.testing.assert_close(alone[:2], expected[:2])
    else:
        assert alone[:2] == [None, None]
        zeros = torch.zeros(pixels, WIDE - 10, 1, 1, dtype=torch.float64)
        torch.testing.assert_close(beside, torch.cat([*expected[:2], zeros], dim=1))
