"""Dilated convolutions as undilated ones on grids.

A kernel of dilation d reads every dth pixel. These pixels are a grid, and an image has d² of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import precision, thresholds
from nas_lightning.supernet.fast.cpu.depthwise import by_single_precision, by_strips, depthwise

UNITED = {8: torch.complex64, 16: torch.complex128}
"""Types whose numbers have that many bytes. If all channels of a pixel have as many, they are moved
as one number."""


def convolve(
    conv: Any,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    groups: int,
    spread: Callable[[Tensor], Tensor],
    learned: bool = False,
) -> Tensor:
    """Convolve with the stride, padding and dilation of `conv`.

    A convolution whose stride equals its dilation reads a single grid. With stride 1 and dilation
    d it is d² convolutions, one for each grid. On a CPU, gradients of dilated convolutions take
    several times as long, so there depthwise convolutions run on the grids, and the kernels of
    other convolutions get their gradient from the grids.

    Args:
        conv: Source of stride, padding and dilation; its own kernel is not used.
        x: Images (B, C, H, W).
        kernel: (outputs, C' / groups, height, width).
        bias: (outputs,), or `None`.
        groups: Number of groups.
        spread: Makes the C' channels from C channels, pixel by pixel.
        learned: A gradient with respect to the kernel is needed.
    """

    def run(x: Tensor, padding: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> Tensor:
        x = spread(x)
        strips = learned and by_strips(x, kernel)
        if bias is None and (strips or by_single_precision(x, kernel, stride)):
            return depthwise(x, kernel, padding, stride)
        return F.conv2d(x, kernel, bias, stride, padding, 1, groups)

    d = conv.dilation[0]
    padding = (conv.padding[0] // d, conv.padding[1] // d)
    gridded = d > 1 and conv.dilation == (d, d) and not any(p % d for p in conv.padding)
    if gridded and conv.stride == (d, d):
        return run(x[:, :, ::d, ::d], padding)
    fits = x.shape[2] % d == x.shape[3] % d == 0 and x.device.type == "cpu"
    if gridded and conv.stride == (1, 1) and fits:
        if kernel.shape[1] == 1:
            return _joined(run(_grids(x, d), padding), d)
        if learned and bias is None and groups == 1 and learned_by_grids(x):
            return dilated(x, kernel, padding, d)
    if conv.dilation == (1, 1):
        return run(x, conv.padding, conv.stride)
    return F.conv2d(spread(x), kernel, bias, conv.stride, conv.padding, conv.dilation, groups)


def learned_by_grids(x: Tensor) -> bool:
    """Return True if `dilated` is faster than PyTorch's own convolution of x (B, C, H, W).

    It is used in bfloat16, also under autocast, only on CPUs that compute in it.
    """
    large = x.shape[1:].numel() >= thresholds.LARGE_DILATED
    return large and precision.fast(x)


def dilated(x: Tensor, kernel: Tensor, padding: tuple[int, int], d: int) -> Tensor:
    """Compute a dilated convolution of stride 1 whose kernel gets its gradient from grids.

    Args:
        x: Images (B, C, H, W); d divides H and W.
        kernel: (outputs, C, height, width).
        padding: Padding of a grid, which is the padding of the images divided by d.
        d: Dilation.
    """
    out: Tensor = _Dilated.apply(*precision.cast(x, kernel), padding, d)
    return out


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: tuple[int, int], d: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding, ctx.d = padding, d
        return F.conv2d(x, kernel, padding=[d * p for p in padding], dilation=d)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (x, kernel), (grad,), d = ctx.saved_tensors, grads, ctx.d
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            around = [d * p for p in ctx.padding]
            of_x = _backward(grad, x, kernel, around, d, (True, False))[0]
        if ctx.needs_input_grad[1]:
            grids, padding = _grids(x, d), ctx.padding
            if grids.shape[2] < kernel.shape[2] or grids.shape[3] < kernel.shape[3]:
                # oneDNN takes longer if it pads images that are smaller than the kernel
                grids, padding = _padded(grids, padding), (0, 0)
            of_kernel = _backward(_grids(grad, d), grids, kernel, padding, 1, (False, True))[1]
        return of_x, of_kernel, None, None


def _backward(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    padding: Sequence[int],
    d: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """Compute the wanted gradients, with respect to the images and to the kernel."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, (1, 1), padding, (d, d), False, (0, 0), 1, (*wanted, False)
    )
    return of_x, of_kernel


def _padded(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Surround x (B, C, H, W) with zeros, in the channels-last format."""
    rows = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    return rows.permute(0, 3, 1, 2)


def _grids(x: Tensor, d: int) -> Tensor:
    """Split x (B, C, H, W) into its grids (d² · B, C, H/d, W/d), in the channels-last format."""
    rows = x.permute(0, 2, 3, 1)
    # few channels move faster as one number, but no gradient flows through that
    one = None if torch.is_grad_enabled() else UNITED.get(x.shape[1] * x.element_size())
    if one is not None:
        rows = rows.contiguous().view(one)
    batch, height, width, channels = rows.shape
    rows = rows.reshape(batch, height // d, d, width // d, d, channels)
    rows = rows.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)
    return (rows if one is None else rows.view(x.dtype)).permute(0, 3, 1, 2)


def _joined(x: Tensor, d: int) -> Tensor:
    """Invert `_grids`."""
    rows = torch.unflatten(x.permute(0, 2, 3, 1), 0, (d, d, -1))
    return rows.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
