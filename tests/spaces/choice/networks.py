"""Networks with choices, as a user would write them."""

from torch import Tensor, nn

from nas_lightning.spaces import Choice


def conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Return a convolution that keeps the size, batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Chain(nn.Module):
    """Three blocks, two of which share α, and a nested choice.

    Args:
        in_channels: Channels of the image.
        num_classes: Number of classes.
        width: Channels of all blocks.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.stem = conv(in_channels, width, 3)
        self.blocks = nn.ModuleList(
            Choice({"k1": conv(width, width, 1), "k3": conv(width, width, 3)}, group="kernel")
            for _ in range(2)
        )
        inner = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()}, name="activation")
        self.last = Choice(
            {"skip": nn.Identity(), "deep": nn.Sequential(conv(width, width, 3), inner)}
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes); the last choice is called twice."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.last(self.last(x))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class ByHand(nn.Module):
    """`Chain` with k3 and deep, and relu inside, written without choices."""

    def __init__(self, in_channels: int, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.stem = conv(in_channels, width, 3)
        self.blocks = nn.ModuleList(conv(width, width, 3) for _ in range(2))
        self.last = nn.Sequential(conv(width, width, 3), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = self.last(self.last(x))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class TwoShapes(nn.Module):
    """Its candidates return different shapes."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.block = Choice({"four": nn.Conv2d(in_channels, 4, 1), "five": nn.Conv2d(3, 5, 1)})

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        out: Tensor = self.block(x)
        return out


class Idle(Chain):
    """One of its choices is never called."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.spare = Choice({"a": nn.Identity(), "b": nn.ReLU()})


class Plain(nn.Linear):
    """Has no choices."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(4, num_classes)


class SameName(nn.Module):
    """Two choices have one name."""

    def __init__(self) -> None:
        super().__init__()
        self.one = Choice({"a": nn.Identity(), "b": nn.ReLU()}, name="block")
        self.two = Choice({"a": nn.Identity(), "b": nn.ReLU()}, name="block")


class OtherGroup(nn.Module):
    """A group whose choices have other candidates."""

    def __init__(self) -> None:
        super().__init__()
        self.one = Choice({"a": nn.Identity(), "b": nn.ReLU()}, group="block")
        self.two = Choice({"a": nn.Identity(), "c": nn.ReLU()}, group="block")
