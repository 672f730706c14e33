"""The inverted bottleneck of MobileNetV2, and the convolutions around it."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import DropPath
from nas_lightning.layers.half import DepthwiseConv2d
from nas_lightning.layers.primitives import StridedPointwise
from nas_lightning.ranges import WIDTH, at_least, check_value

Activation = Literal["relu6", "relu"]
EPS = 1e-5
"""Added to the variance in batch norm; PyTorch's default."""
LARGEST = at_least(1, 100)
"""Kernels, expansions and strides."""


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    activation: Activation | None = "relu6",
    eps: float = EPS,
) -> nn.Sequential:
    """Return a convolution without bias, batch norm and, unless it is `None`, an activation.

    It maps (B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride)).

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Size of the kernel, odd.
        stride: Stride.
        activation: Name of the activation.
        eps: Added to the variance in batch norm.
    """
    if kernel == 1:
        conv: nn.Conv2d = StridedPointwise(inputs, outputs, 1, stride, bias=False)
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps), *_activation(activation))


class MBConv(nn.Module):
    """The inverted bottleneck (Sandler et al., CVPR 2018): expand, filter by channel, project.

    A 1x1 convolution to `expansion` times the channels, a depthwise convolution and a 1x1
    convolution to the channels out, each with batch norm, the first two with an activation. With
    stride 1 and as many channels out as in, the input is added. An expansion of 1 leaves the first
    convolution out. Convolutions have no bias.

    With hidden channels h = expansion · inputs, it has
    [inputs · h + 2h if expansion > 1] + (kernel² + 2) · h + (h + 2) · outputs parameters.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Size of the depthwise kernel, odd.
        expansion: Hidden channels for each channel in.
        stride: Stride of the depthwise convolution.
        activation: Name of the activation.
        eps: Added to the variance in batch norm.

    Raises:
        UsageError: A number is out of range, or the kernel is even.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        expansion: int = 6,
        stride: int = 1,
        activation: Activation = "relu6",
        eps: float = EPS,
    ) -> None:
        super().__init__()
        check_value("MBConv: inputs", inputs, WIDTH)
        check_value("MBConv: outputs", outputs, WIDTH)
        check_value("MBConv: kernel", kernel, LARGEST)
        check_value("MBConv: expansion", expansion, LARGEST)
        check_value("MBConv: stride", stride, LARGEST)
        if kernel % 2 == 0:
            raise UsageError(f"MBConv: kernel must be odd, found {kernel}")
        hidden = expansion * inputs
        widen = (
            [] if expansion == 1 else [conv_norm(inputs, hidden, activation=activation, eps=eps)]
        )
        filtered = nn.Sequential(
            DepthwiseConv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden, eps),
            *_activation(activation),
        )
        project = conv_norm(hidden, outputs, activation=None, eps=eps)
        self.body = nn.Sequential(*widen, filtered, project)
        self.path = DropPath() if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, ceil(H / stride), ceil(W / stride)) for x (B, inputs, H, W)."""
        out = cast(Tensor, self.body(x))
        return out if self.path is None else x + self.path(out)


def _activation(name: Activation | None) -> list[nn.Module]:
    kinds = {"relu6": nn.ReLU6, "relu": nn.ReLU}
    return [] if name is None else [kinds[name]()]
