"""Preprocessing of cell inputs: one ReLU and one convolution for all cells that read a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.supernet.fast.norms import NormInput, has_state, normalize
from nas_lightning.supernet.fast.products import channels_last
from nas_lightning.supernet.fast.segments import batchable, reducing_kernel


def fast_preprocess(x: Tensor, ops: Sequence[nn.Module]) -> list[Tensor]:
    """Compute `reference_preprocess` up to rounding; the result is in the channels-last format."""
    x = channels_last(x)
    rectified = x.relu()
    known = [op for op in ops if batchable(op)]
    plain: list[Any] = [op for op in known if not isinstance(op, FactorizedReduce)]
    found = dict(zip(plain, _convolved(plain, rectified), strict=True)) if plain else {}
    for op in known:
        if isinstance(op, FactorizedReduce):
            kernel = reducing_kernel(op.conv0.weight, op.conv1.weight)
            found[op] = normalize(NormInput(F.conv2d(rectified, kernel, stride=2), [op.norm]))
    return [found[op] if op in found else op(x) for op in ops]


def _convolved(ops: Sequence[Any], rectified: Tensor) -> Sequence[Tensor]:
    """Apply 1x1 convolutions, each followed by a batch norm, to a state after its ReLU."""
    convs, norms = [op[1] for op in ops], [op[2] for op in ops]
    x = F.conv2d(rectified, torch.cat([conv.weight for conv in convs]))
    widths = [conv.out_channels for conv in convs]
    if has_state(norms[0]):
        pairs = zip(torch.split(x, widths, dim=1), norms, strict=True)
        return [normalize(NormInput(piece, [norm])) for piece, norm in pairs]
    return torch.split(normalize(NormInput(x, norms)), widths, dim=1)
