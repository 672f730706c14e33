"""A network whose choice contains another one with parameters."""

from torch import Tensor, nn

from nas_lightning.spaces import Choice


class Nested(nn.Module):
    """A choice of a small and a deep candidate; the deep one has a choice of its own.

    Args:
        in_channels: Channels of the image.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 2, 1)
        inner = Choice(
            {
                "b8": nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False)),
                "b20": nn.Conv2d(2, 2, (1, 5), padding=(0, 2), bias=False),
            },
            name="inner",
        )
        deep = nn.Sequential(nn.Conv2d(2, 2, 1), inner, nn.Conv2d(2, 2, 1, bias=False))
        self.outer = Choice({"small": nn.Conv2d(2, 2, 1), "deep": deep}, name="outer")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2, H, W)."""
        out: Tensor = self.outer(self.stem(x))
        return out
