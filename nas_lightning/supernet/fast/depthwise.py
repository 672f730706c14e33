"""Depthwise convolutions whose weights are learned: their gradient in strips of three columns.

On a CPU, the gradient with respect to kernels wider than that, or than the image, takes longer, the
more so if padding is left to it (oneDNN; see benchmarks/convolutions.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 3
"""Columns of a kernel whose gradient is fast."""


def by_strips(x: Tensor, kernel: Tensor) -> bool:
    """Whether `depthwise` pays for images (B, C, H, W) and a kernel (C, 1, height, width).

    Not in bfloat16, and not under autocast, which changes the types that the gradient meets.
    """
    depthwise = kernel.shape[1] == 1 and kernel.shape[0] == x.shape[1]
    slow = kernel.shape[3] > min(STRIP, x.shape[3])
    if not (depthwise and slow and x.device.type == "cpu"):
        return False
    return x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu")


def depthwise(
    x: Tensor, kernel: Tensor, padding: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> Tensor:
    """A depthwise convolution without bias.

    Args:
        x: Images (B, C, H, W).
        kernel: (C, 1, height, width).
        padding: At the top and the bottom, and at the left and the right.
        stride: Down and to the right.
    """
    out: Tensor = _Depthwise.apply(x, kernel, padding, stride)
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, padding: tuple[int, int], stride: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding, ctx.stride = padding, stride
        return F.conv2d(x, kernel, padding=padding, stride=stride, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, kernel = ctx.saved_tensors
        (grad,), (above, left), stride = grads, ctx.padding, ctx.stride
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = _backward(grad, x, kernel, ctx.padding, stride, (True, False))[0]
        if ctx.needs_input_grad[1]:
            width, strip = kernel.shape[3], min(STRIP, kernel.shape[3])
            starts = [*range(0, width - strip, strip), width - strip]
            strips: list[Tensor] = []
            # shifted so that no padding is left to the convolution
            for start, shifted in zip(starts, _shifted(x, starts, above, left), strict=True):
                columns = kernel[..., :strip]
                of_strip = _backward(grad, shifted, columns, (0, 0), stride, (False, True))[1]
                strips.append(of_strip[..., strip * len(strips) - start :])
            of_kernel = torch.cat(strips, dim=3)
        return of_x, of_kernel, None, None


def _shifted(x: Tensor, starts: Sequence[int], above: int, left: int) -> Iterator[Tensor]:
    """Padded images as strips of a kernel read them, in the channels-last format.

    Args:
        x: Images (B, C, H, W).
        starts: The first column of each strip; the last strip ends with the kernel.
        above: Padding at the top and the bottom.
        left: Padding at the left and the right.
    """
    rows, last = x.permute(0, 2, 3, 1), starts[-1]
    if last == left:
        # the zeros to the right of a row are those to the left of the next one: one more image
        padded = F.pad(rows, (0, 0, left, 0, above, above, 0, 1))
        size, strides = padded[:-1].shape, padded.stride()
        for start in starts:
            yield padded.as_strided(size, strides, start * strides[2]).permute(0, 3, 1, 2)
    else:
        for start in starts:
            padded = F.pad(rows, (0, 0, left - start, left - last + start, above, above))
            yield padded.permute(0, 3, 1, 2)


def _backward(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    padding: tuple[int, int],
    stride: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to the images and to the kernel, of which one is wanted."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, stride, padding, (1, 1), False, (0, 0), x.shape[1],
        (*wanted, False),
    )  # fmt: skip
    return of_x, of_kernel
