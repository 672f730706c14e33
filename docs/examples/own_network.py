"""A network of your own for small images, with a choice of its layers."""

from torch import Tensor, nn

from nas_lightning import Choice


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def block(width: int) -> Choice:
    """Return the choice of a layer: a kernel of 1, 3 or 5 pixels, or no layer."""
    kernels = {f"k{kernel}": conv(width, width, kernel) for kernel in (1, 3, 5)}
    return Choice({**kernels, "skip": nn.Identity()})


class OwnNetwork(nn.Module):
    """Six layers at two sizes of the image; the second size is reached by a choice of its own.

    Args:
        in_channels: Channels of the image; the data sets it.
        num_classes: Number of classes; the data sets it.
        width: Channels of the first layers.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        pool = nn.Sequential(nn.MaxPool2d(2), conv(width, 2 * width, 1))
        self.stem = conv(in_channels, width, 3)
        self.early = nn.ModuleList(block(width) for _ in range(3))
        self.shrink = Choice({"conv": conv(width, 2 * width, 3, stride=2), "pool": pool})
        self.late = nn.ModuleList(block(2 * width) for _ in range(3))
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for images (B, in_channels, H, W)."""
        x = self.stem(x)
        for layer in self.early:
            x = layer(x)
        x = self.shrink(x)
        for layer in self.late:
            x = layer(x)
        out: Tensor = self.head(x.mean((2, 3)))
        return out
