"""A custom candidate operation: a convolution with squeeze and excitation."""

from torch import Tensor, nn

from nas_lightning.spaces import register_primitive


@register_primitive("se_conv_3x3")
class SEConv(nn.Module):
    """ReLU, 3x3 convolution, batch norm, and a weight for each channel (Hu et al., CVPR 2018).

    Args:
        channels: Channels in and out.
        stride: 1, or 2 on edges that halve the image.
        affine: Batch norm learns scale and shift. False in a search, True in retraining.
    """

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels, affine=affine),
        )
        self.squeeze = nn.Linear(channels, max(1, channels // 4))
        self.excite = nn.Linear(max(1, channels // 4), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H / stride, W / stride) for x (B, channels, H, W)."""
        x = self.conv(x)
        weights = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        out: Tensor = x * weights[:, :, None, None]
        return out
