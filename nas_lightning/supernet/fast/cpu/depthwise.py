"""Depthwise convolutions with gradients that PyTorch computes slowly on a CPU.

The gradient with respect to a kernel that is wider than three columns, or wider than the image,
is computed in strips of three columns: otherwise it takes longer, most of all if oneDNN has to pad
the image. In bfloat16, the gradient with respect to the images of a strided convolution is computed
in float32: otherwise it takes a hundred times as long (see benchmarks/convolutions.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.layers.half import computed_in
from nas_lightning.supernet.fast.cpu import precision, thresholds


def by_strips(x: Tensor, kernel: Tensor) -> bool:
    """Return True if the kernel gets its gradient faster in strips.

    It is used in bfloat16, also under autocast, only on CPUs that compute in it.

    Args:
        x: Images (B, C, H, W).
        kernel: (C, 1, height, width).
    """
    return _is_depthwise(x, kernel) and _wide(x, kernel) and precision.fast(x)


def by_single_precision(x: Tensor, kernel: Tensor, stride: tuple[int, int]) -> bool:
    """Return True if the images get their gradient faster in float32.

    Args:
        x: Images (B, C, H, W).
        kernel: (C, 1, height, width).
        stride: Vertical and horizontal stride.
    """
    low = computed_in(x) == torch.bfloat16 and precision.fast(x)
    return low and stride != (1, 1) and _is_depthwise(x, kernel)


def _is_depthwise(x: Tensor, kernel: Tensor) -> bool:
    return kernel.shape[1] == 1 and kernel.shape[0] == x.shape[1] and x.device.type == "cpu"


def _wide(x: Tensor, kernel: Tensor) -> bool:
    return kernel.shape[3] > min(thresholds.STRIP, x.shape[3])


def depthwise(
    x: Tensor, kernel: Tensor, padding: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> Tensor:
    """Compute a depthwise convolution without bias.

    Args:
        x: Images (B, C, H, W).
        kernel: (C, 1, height, width).
        padding: Rows above and below, and columns to the left and to the right.
        stride: Vertical and horizontal stride.
    """
    out: Tensor = _Depthwise.apply(*precision.cast(x, kernel), padding, stride)
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
            low = x.dtype == torch.bfloat16 and stride != (1, 1)
            given = (grad.float(), x.float(), kernel.float()) if low else (grad, x, kernel)
            of_x = _backward(*given, ctx.padding, stride, (True, False))[0].to(x.dtype)
        if ctx.needs_input_grad[1] and not _wide(x, kernel):
            of_kernel = _backward(grad, x, kernel, ctx.padding, stride, (False, True))[1]
        elif ctx.needs_input_grad[1]:
            width, strip = kernel.shape[3], min(thresholds.STRIP, kernel.shape[3])
            starts = [*range(0, width - strip, strip), width - strip]
            strips: list[Tensor] = []
            # shifted and padded images, so that the convolution pads nothing
            for start, shifted in zip(starts, _shifted(x, starts, above, left), strict=True):
                columns = kernel[..., :strip]
                of_strip = _backward(grad, shifted, columns, (0, 0), stride, (False, True))[1]
                strips.append(of_strip[..., strip * len(strips) - start :])
            of_kernel = torch.cat(strips, dim=3)
        return of_x, of_kernel, None, None


def _shifted(x: Tensor, starts: Sequence[int], above: int, left: int) -> Iterator[Tensor]:
    """Yield the padded images as each strip of a kernel reads them, channels last.

    Args:
        x: Images (B, C, H, W).
        starts: The first column of each strip; the last strip ends with the kernel.
        above: Rows of padding above and below.
        left: Columns of padding to the left and to the right.
    """
    rows, last = x.permute(0, 2, 3, 1), starts[-1]
    if last == left:
        # the zeros left of a row also pad the row before it on the right; the last row needs one
        # more image
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
    """Compute the wanted gradients, with respect to the images and to the kernel."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, stride, padding, (1, 1), False, (0, 0), x.shape[1],
        (*wanted, False),
    )  # fmt: skip
    return of_x, of_kernel
