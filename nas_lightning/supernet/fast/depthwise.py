"""Depthwise convolutions whose weights are learned: their gradient in strips of three columns.

On a CPU with AVX-512, the gradient with respect to wider kernels takes several times as long
(oneDNN; see benchmarks/convolutions.py); with AVX2 it does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 3
"""Columns of a kernel whose gradient is fast."""
NEEDED = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""Whether this CPU takes longer for more columns."""
PIXELS = 64
"""Pixels of an image from which on that matters."""


def by_strips(x: Tensor, kernel: Tensor) -> bool:
    """Whether `depthwise` pays for images (B, C, H, W) and a kernel (C, 1, height, width).

    Not in bfloat16, and not under autocast, which changes the types that the gradient meets.
    """
    depthwise = kernel.shape[1] == 1 and kernel.shape[0] == x.shape[1]
    matters = kernel.shape[3] > STRIP and x.shape[2:].numel() >= PIXELS
    if not (NEEDED and depthwise and matters and x.device.type == "cpu"):
        return False
    return x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu")


def depthwise(x: Tensor, kernel: Tensor, padding: tuple[int, int]) -> Tensor:
    """A depthwise convolution of stride 1 without bias.

    Args:
        x: Images (B, C, H, W).
        kernel: (C, 1, height, width).
        padding: At the top and the bottom, and at the left and the right.
    """
    out: Tensor = _Depthwise.apply(x, kernel, padding)
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding = padding
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        (grad,), (above, left) = grads, ctx.padding
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = _backward(grad, x, kernel, (above, left), (True, False))[0]
        if ctx.needs_input_grad[1]:
            width = kernel.shape[3]
            starts = [*range(0, width - STRIP, STRIP), width - STRIP]
            strips: list[Tensor] = []
            for start in starts:
                # shifted so that no padding to the left and right is left to the convolution
                shifted = F.pad(x, (left - start, left - (width - STRIP - start)))
                strip = kernel[..., :STRIP]
                of_strip = _backward(grad, shifted, strip, (above, 0), (False, True))[1]
                strips.append(of_strip[..., STRIP * len(strips) - start :])
            of_kernel = torch.cat(strips, dim=3)
        return of_x, of_kernel, None


def _backward(
    grad: Tensor, x: Tensor, kernel: Tensor, padding: tuple[int, int], wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Gradients with respect to the images and to the kernel, of which one is wanted."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), x.shape[1],
        (*wanted, False),
    )  # fmt: skip
    return of_x, of_kernel
