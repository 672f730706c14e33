"""Transforms of single images. All random draws come from the CPU generator of PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from nas_lightning.data.pixels import WHITE, to_rgb

# from a stored image (a PIL image or a tensor) to a float tensor (C, H, W)
Transform = Callable[[Any], Tensor]


class Cutout(nn.Module):
    """Sets a square to zero, which is the mean colour after normalisation (as in DARTS).

    The centre is drawn uniformly from all pixels, so the square may be clipped at the border.

    Args:
        length: Side of the square in pixels; an odd one is rounded down to the next even number.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, image: Tensor) -> Tensor:
        """Return a copy of the image (C, H, W) with the square set to zero."""
        height, width = image.shape[-2:]
        y = int(torch.randint(height, ()))
        x = int(torch.randint(width, ()))
        half = self.length // 2
        image = image.clone()
        image[..., max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        return image


class ToRGB(nn.Module):
    """Converts an upright PIL image of any mode to RGB, see `nas_lightning.data.pixels.to_rgb`.

    Args:
        background: Grey level that shows through transparent pixels, from 0 (black) to 255 (white).
        white: Value of white in grey images of more than 8 bits; `None` means the largest one.
    """

    def __init__(self, background: int = WHITE, white: float | None = None) -> None:
        super().__init__()
        self.background = background
        self.white = white

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the image in mode RGB; raise DataError if its values have no known meaning."""
        return to_rgb(image, self.background, self.white)


class NormalizeBytes(nn.Module):
    """Converts bytes to floats: scales to [0, 1], subtracts the mean, divides by the deviation.

    It takes one multiplication and one addition. The two steps of torchvision take six times as
    long on small images.

    Args:
        mean: Mean of each channel, on a scale from 0 to 1.
        std: Standard deviation of each channel, on a scale from 0 to 1.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        deviation = torch.tensor(std).view(-1, 1, 1)
        self.register_buffer("scale", 1 / (255 * deviation))
        self.register_buffer("shift", -torch.tensor(mean).view(-1, 1, 1) / deviation)

    def forward(self, image: Tensor) -> Tensor:
        """Return bytes (…, C, H, W) as normalised floats of the same shape."""
        return torch.addcmul(self.shift, image.float(), self.scale)


def resized_crop_transform(size: int) -> list[nn.Module]:
    """Return steps for photographs in training: random crops of at least half the area, and flips.

    Args:
        size: Height and width of the result in pixels.
    """
    return [v2.RandomResizedCrop(size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]


def imagenet_transform(size: int, colour_jitter: bool = True) -> list[nn.Module]:
    """Return the steps of DARTS for ImageNet in training: random crops, flips and colour jitter.

    A crop has 8 to 100 % of the area and an aspect ratio from 3:4 to 4:3.

    Args:
        size: Height and width of the result in pixels.
        colour_jitter: If False, colours stay as they are.
    """
    steps = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()]
    if not colour_jitter:
        return steps
    return [*steps, v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)]


def centre_crop_transform(size: int) -> list[nn.Module]:
    """Return steps for photographs in evaluation: resizing and a centre crop.

    Args:
        size: Height and width of the result in pixels.
    """
    return [v2.Resize(shorter_side(size)), v2.CenterCrop(size)]


def shorter_side(size: int) -> int:
    """Return the shorter side in pixels to which a photograph is resized before its centre crop.

    It is 8/7 of `size`, such as 256 pixels for a crop of 224.
    """
    return round(size * 8 / 7)
