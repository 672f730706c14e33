"""Batch norms of several edges, and of several operations, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDE = 16
"""A CPU's vectors take so many channels at a time, and long for what is left. Anywhere, batch norms
of fewer channels run together: alone they cost about as much as one of so many."""
PIXELS = 2**13
"""Pixels of a batch from which on a rest of channels matters; measured by
benchmarks/convolutions.py."""


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


def normalized(
    ended: Sequence[Part], going: Sequence[Part]
) -> tuple[list[Tensor | None], Tensor | None, list[Tensor]]:
    """What batch norms, and ReLU behind some of them, make of parts.

    Args:
        ended: Parts of which those of few channels stay side by side if they have many pixels.
        going: Others.

    Returns:
        Ended parts, None for those that are side by side; these, perhaps with zeros behind them;
        and the others.
    """
    ends = [part for part in ended if _few(part)]
    others = [part for part in going if _few(part)]
    beside = None
    if ends and _long(ends[0].x):
        beside = _beside(ends, -sum(part.x.shape[1] for part in ends) % WIDE)
        ends = []
    pieces = iter(_pieces([*ends, *others]))
    alone = [
        normalize(part) if not _few(part) else None if beside is not None else next(pieces)
        for part in ended
    ]
    return alone, beside, [next(pieces) if _few(part) else normalize(part) for part in going]


def _few(part: Part) -> bool:
    """Whether a part has so few channels that it is better off beside others."""
    if not part.norms or has_state(part.norms[0]):
        return False
    return part.x.shape[1] < WIDE or (part.x.shape[1] % WIDE > 0 and _long(part.x))


def _pieces(parts: Sequence[Part]) -> list[Tensor]:
    """What batch norms without state make of parts that run as one."""
    if not parts:
        return []
    pieces = torch.split(_beside(parts), [part.x.shape[1] for part in parts], dim=1)
    return [
        piece.relu() if part.rectify else piece for part, piece in zip(parts, pieces, strict=True)
    ]


def _beside(parts: Sequence[Part], zeros: int = 0) -> Tensor:
    """The same side by side, and channels of zeros behind them."""
    first, xs = parts[0], [part.x for part in parts]
    if zeros:  # channels last, as all else
        batch, _, *size = first.x.shape
        xs.append(first.x.new_zeros(batch, *size, zeros).permute(0, 3, 1, 2))
    scale = None
    if any(part.scale is not None for part in parts):
        one = first.x.new_ones(1)
        scales = [one.expand(p.x.shape[1]) if p.scale is None else p.scale for p in parts]
        scale = torch.cat([*scales, one.expand(zeros)] if zeros else scales)
    return normalize(Part(xs[0] if len(xs) == 1 else torch.cat(xs, dim=1), first.norms, scale))


def _long(x: Tensor) -> bool:
    """Whether a batch (B, C, H, W) has so many pixels, on a CPU."""
    return x.device.type == "cpu" and x.numel() >= PIXELS * x.shape[1]


def has_state(norm: Any) -> bool:
    """Whether a batch norm has more than the statistics of a batch."""
    return bool(norm.affine or norm.track_running_stats)


def normalize(part: Part) -> Tensor:
    """What the batch norms, and ReLU behind them, make of one part."""
    value = _normalize(part)
    return value.relu_() if part.rectify else value


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
