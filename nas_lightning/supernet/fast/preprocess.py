"""What cells make of a state before they read it: one ReLU and one convolution for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.supernet.fast.norms import Part, has_state, normalize
from nas_lightning.supernet.fast.products import channels_last
from nas_lightning.supernet.fast.stages import batchable, reducing_kernel


def fast_preprocess(x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
    """What `reference_preprocess` returns, to rounding, in the channels-last format."""
    x = channels_last(x)
    rectified = x.relu()
    known = [op for op in ops if batchable(op)]
    plain: list[Any] = [op for op in known if not isinstance(op, FactorizedReduce)]
    found = dict(zip(plain, _convolved(plain, rectified), strict=True)) if plain else {}
    for op in known:
        if isinstance(op, FactorizedReduce):
            kernel = reducing_kernel(op.conv0.weight, op.conv1.weight)
            found[op] = normalize(Part(F.conv2d(rectified, kernel, stride=2), [op.norm]))
    return [found[op] if op in found else op(x) for op in ops]


def _convolved(ops: Sequence[Any], rectified: Tensor) -> Sequence[Tensor]:
    """What 1x1 convolutions, each with a batch norm behind it, give of a state behind its ReLU."""
    convs, norms = [op[1] for op in ops], [op[2] for op in ops]
    x = F.conv2d(rectified, torch.cat([conv.weight for conv in convs]))
    widths = [conv.out_channels for conv in convs]
    if has_state(norms[0]):
        parts = zip(torch.split(x, widths, dim=1), norms, strict=True)
        return [normalize(Part(part, [norm])) for part, norm in parts]
    return torch.split(normalize(Part(x, norms)), widths, dim=1)
