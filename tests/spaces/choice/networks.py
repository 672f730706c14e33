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


class OneCandidate(nn.Module):
    """Its only choice has one candidate."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.only = Choice({"conv": conv(in_channels, 4, 3)})
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        out: Tensor = self.head(self.only(x).mean((2, 3)))
        return out


class NoSkip(OneCandidate):
    """No candidate returns its input."""


class Wide(nn.Module):
    """Choices whose candidates a subclass changes."""

    names: tuple[tuple[str, str], ...] = (("a", "b"), ("a", "b"))

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        for place, names in zip(("one", "two", "three"), self.names, strict=False):
            self.add_module(
                place, Choice({name: conv(in_channels, in_channels, 1) for name in names})
            )
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        for module in self.children():
            if isinstance(module, Choice):
                x = module(x)
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class OnValues(OneCandidate):
    """It branches on values, so it cannot run on the meta device; its shapes disagree."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes)
        self.only = Choice({"four": conv(in_channels, 4, 3), "five": conv(in_channels, 5, 3)})

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        return super().forward(x if x.sum() < 1 else -x)


class Raises(nn.Module):
    """Its constructor fails."""

    def __init__(self, num_classes: int) -> None:
        raise RuntimeError("no such\nwidth:")


class Crash(OneCandidate):
    """It cannot run on images."""

    def forward(self, x: Tensor) -> Tensor:
        """Return nothing."""
        return super().forward(x.flatten(1))


class Pair(OneCandidate):
    """It returns more than the logits."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) and the images."""
        return super().forward(x), x  # type: ignore[return-value]
