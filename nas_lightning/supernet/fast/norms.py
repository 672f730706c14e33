"""Batch norms of several edges, and of several operations, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.narrow import narrow, normalize

WIDE = 16
"""Batch norms of fewer channels run together, unless they are `narrow`: alone they cost about as
much as one of so many."""


class Part(NamedTuple):
    """What is to be normalised.

    Attributes:
        x: Channels of n edges side by side (B, n · C, H, W).
        norms: The batch norm of each edge, or one for all if it has no state; none for none.
        scale: What the result is multiplied by (n · C,); none for nothing.
        rectify: ReLU follows. In place: the gradient of a batch norm does not read its result.
    """

    x: Tensor
    norms: Sequence[nn.Module]
    scale: Tensor | None = None
    rectify: bool = False


def normalized(parts: Sequence[Part]) -> list[Tensor]:
    """What the batch norms, and ReLU behind some of them, make of every part."""
    done: dict[int, Tensor] = {}
    few: list[int] = []
    for i, part in enumerate(parts):
        if part.norms and part.x.shape[1] < WIDE and not has_state(part.norms[0]):
            few.append(i)
        else:
            done[i] = _normalize(part)
            if part.rectify:
                done[i].relu_()
    if few and narrow(min((parts[i].x for i in few), key=lambda x: x.shape[1])):
        done |= {i: _narrow(parts[i]) for i in few}
    elif few:
        together = _normalize(_joined([parts[i] for i in few]))
        widths = [parts[i].x.shape[1] for i in few]
        for i, value in zip(few, torch.split(together, widths, dim=1), strict=True):
            done[i] = value.relu() if parts[i].rectify else value
    return [done[i] for i in range(len(parts))]


def has_state(norm: Any) -> bool:
    """Whether a batch norm has more than the statistics of a batch."""
    return bool(norm.affine or norm.track_running_stats)


def _joined(parts: Sequence[Part]) -> Part:
    """Parts whose batch norms have no state, side by side."""
    if len(parts) == 1:
        return parts[0]
    x = torch.cat([part.x for part in parts], dim=1)
    if all(part.scale is None for part in parts):
        return Part(x, parts[0].norms)
    one = x.new_ones(1)
    scales = [one.expand(p.x.shape[1]) if p.scale is None else p.scale for p in parts]
    return Part(x, parts[0].norms, torch.cat(scales))


def _narrow(part: Part) -> Tensor:
    norms: Sequence[Any] = part.norms
    out = normalize(part.x, part.scale, norms[0].eps)
    return out.relu() if part.rectify else out


def _normalize(part: Part) -> Tensor:
    x, scale = part.x, part.scale
    if not part.norms:
        return x if scale is None else x * scale[:, None, None]
    norms: Sequence[Any] = part.norms
    first, weight, bias = norms[0], scale, None
    if first.affine:
        weight, bias = _side_by_side(norms, "weight"), _side_by_side(norms, "bias")
        if scale is not None:
            weight, bias = weight * scale, bias * scale
    if not first.track_running_stats:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=first.eps)
    mean, var = _side_by_side(norms, "running_mean"), _side_by_side(norms, "running_var")
    out = F.batch_norm(x, mean, var, weight, bias, first.training, first.momentum, first.eps)
    if first.training:
        moved = zip(norms, mean.chunk(len(norms)), var.chunk(len(norms)), strict=True)
        for norm, new_mean, new_var in moved:
            norm.running_mean.copy_(new_mean)
            norm.running_var.copy_(new_var)
            norm.num_batches_tracked.add_(1)
    return out


def _side_by_side(norms: Sequence[Any], name: str) -> Tensor:
    return torch.cat([getattr(norm, name) for norm in norms])
