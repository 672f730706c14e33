"""Batch norms of several edges and of several operations, computed as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import thresholds


class NormInput(NamedTuple):
    """A tensor that batch norms are to normalise.

    Attributes:
        x: Channels of n edges side by side (B, n · C, H, W).
        norms: The batch norm of each edge, or a single one for all if it has no state; empty if
            there is no batch norm.
        scale: Factor of the result (n · C,); `None` means 1.
        rectify: A ReLU follows. It runs in place, because the gradient of a batch norm does not
            read the result.
    """

    x: Tensor
    norms: Sequence[nn.Module]
    scale: Tensor | None = None
    rectify: bool = False


def normalized(
    last: Sequence[NormInput], inner: Sequence[NormInput]
) -> tuple[list[Tensor | None], Tensor | None, list[Tensor]]:
    """Apply batch norms, and the ReLU that follows some of them.

    Args:
        last: Inputs of the last batch norms of operations. If they have few channels and many
            pixels, their results stay side by side.
        inner: Inputs of the other batch norms.

    Returns:
        The results for `last`, with `None` for each that stays side by side; the ones side by
        side, perhaps with channels of zeros after them, or `None`; and the results for `inner`.
    """
    narrow = [given for given in last if _few(given)]
    others = [given for given in inner if _few(given)]
    beside = None
    if narrow and _long(narrow[0].x):
        zeros = -sum(given.x.shape[1] for given in narrow) % thresholds.NORM_WIDTH
        beside = _beside(narrow, zeros)
        narrow = []
    pieces = iter(_pieces([*narrow, *others]))
    alone = [
        normalize(given) if not _few(given) else None if beside is not None else next(pieces)
        for given in last
    ]
    return alone, beside, [next(pieces) if _few(given) else normalize(given) for given in inner]


def _few(given: NormInput) -> bool:
    """Return True if an input has so few channels that it runs faster together with others."""
    if not given.norms or has_state(given.norms[0]):
        return False
    channels, width = given.x.shape[1], thresholds.NORM_WIDTH
    return channels < width or (channels % width > 0 and _long(given.x))


def _pieces(inputs: Sequence[NormInput]) -> list[Tensor]:
    """Apply batch norms without state as one, and return the result for each input."""
    if not inputs:
        return []
    pieces = torch.split(_beside(inputs), [given.x.shape[1] for given in inputs], dim=1)
    return [
        piece.relu() if given.rectify else piece
        for given, piece in zip(inputs, pieces, strict=True)
    ]


def _beside(inputs: Sequence[NormInput], zeros: int = 0) -> Tensor:
    """Apply batch norms without state as one; append that many channels of zeros."""
    first, xs = inputs[0], [given.x for given in inputs]
    if zeros:  # channels last, like all other tensors
        batch, _, *size = first.x.shape
        xs.append(first.x.new_zeros(batch, *size, zeros).permute(0, 3, 1, 2))
    scale = None
    if any(given.scale is not None for given in inputs):
        one = first.x.new_ones(1)
        scales = [one.expand(n.x.shape[1]) if n.scale is None else n.scale for n in inputs]
        scale = torch.cat([*scales, one.expand(zeros)] if zeros else scales)
    x = xs[0] if len(xs) == 1 else torch.cat(xs, dim=1)
    return normalize(NormInput(x, first.norms, scale))


def _long(x: Tensor) -> bool:
    """Return True if a batch (B, C, H, W) on a CPU has at least `NORM_PIXELS` pixels."""
    return x.device.type == "cpu" and x.numel() >= thresholds.NORM_PIXELS * x.shape[1]


def has_state(norm: Any) -> bool:
    """Return True if a batch norm has weights or running statistics."""
    return bool(norm.affine or norm.track_running_stats)


def normalize(given: NormInput) -> Tensor:
    """Apply the batch norms, and the ReLU if one follows, to one input."""
    value = _normalize(given)
    return value.relu_() if given.rectify else value


def _normalize(given: NormInput) -> Tensor:
    x, scale = given.x, given.scale
    if not given.norms:
        return x if scale is None else x * scale[:, None, None]
    norms: Sequence[Any] = given.norms
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
        updates = zip(norms, mean.chunk(len(norms)), var.chunk(len(norms)), strict=True)
        for norm, new_mean, new_var in updates:
            norm.running_mean.copy_(new_mean)
            norm.running_var.copy_(new_var)
            norm.num_batches_tracked.add_(1)
    return out


def _side_by_side(norms: Sequence[Any], name: str) -> Tensor:
    return torch.cat([getattr(norm, name) for norm in norms])
