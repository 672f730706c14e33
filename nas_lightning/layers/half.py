"""Convolutions that PyTorch computes wrongly or slowly in bfloat16 on a CPU (torch 2.15, oneDNN).

Weight gradients of dilated convolutions are wrong or not finite if images are stored in the
channels-last format and have at least 31x31 pixels. Gradients of strided depthwise convolutions
with respect to their images take a hundred times as long as in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError


def computed_in(x: Tensor) -> torch.dtype:
    """Return the type in which a convolution of x is computed, under autocast or without."""
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind)  # not for `meta`, on which networks are counted
    if x.dtype == torch.float64 or not known or not torch.is_autocast_enabled(kind):
        return x.dtype
    return torch.get_autocast_dtype(kind)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution; with stride or dilation, a CPU computes it in float32, not bfloat16.

    The result has the type that it would have otherwise.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (B, C, H, W)."""
        spread = self.stride != (1, 1) or self.dilation != (1, 1)
        dtype = computed_in(x)
        out: Tensor
        if not spread or x.device.type != "cpu" or dtype != torch.bfloat16:
            out = super().forward(x)
            return out
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.float()
            out = self._conv_forward(x.float(), self.weight.float(), bias)
            return out.to(dtype)


def check_dilated(network: nn.Module) -> None:
    """Check that a network can be trained in bfloat16 on a CPU.

    Raises:
        UsageError: It has a dilated convolution other than those of this package.
    """
    for name, module in network.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and not isinstance(module, DepthwiseConv2d)
            and any(d > 1 for d in module.dilation)
        ):
            raise UsageError(
                f"{name}: PyTorch computes wrong gradients of dilated convolutions in bfloat16 on "
                f"a CPU: set trainer.precision to 32-true"
            )
