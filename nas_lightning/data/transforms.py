"""What happens to an image before the model sees it. All draws come from torch's CPU generator."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

# from whatever the data set stores (a PIL image or a tensor) to a float tensor (C, H, W)
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
    """Turns a PIL image of any mode (grey, 16-bit grey, palette, CMYK, with alpha) into RGB."""

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the image in mode RGB; transparency is dropped."""
        if image.mode.startswith("I;16"):
            # PIL would clip everything above 255 to white: keep the upper of the two bytes instead
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if "transparency" in image.info:
            # straight to RGB, PIL warns about palettes with several transparent entries
            image = image.convert("RGBA")
        return image.convert("RGB")


class NormalizeBytes(nn.Module):
    """Turns bytes into floats: scales to 0 .. 1, subtracts the mean, divides by the deviation.

    One multiplication and one addition; torchvision's two steps take six times as long on small
    images.

    Args:
        mean: Mean of each channel, in the scale 0 .. 1.
        std: Standard deviation of each channel, in the scale 0 .. 1.
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
    """Steps for photographs in training: a random part of at least half the area, mirrored or not.

    Args:
        size: Height and width of the result in pixels.
    """
    return [v2.RandomResizedCrop(size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]


def imagenet_transform(size: int) -> list[nn.Module]:
    """Steps for ImageNet in training (DARTS): a random part, mirrored or not, in other colours.

    The part has 8 to 100 % of the area and sides of 3:4 to 4:3.

    Args:
        size: Height and width of the result in pixels.
    """
    colours = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    return [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), colours]


def centre_crop_transform(size: int) -> list[nn.Module]:
    """Steps for photographs in evaluation: shorter side to 8/7 of `size` (256 to 224), centre crop.

    Args:
        size: Height and width of the result in pixels.
    """
    return [v2.Resize(round(size * 8 / 7)), v2.CenterCrop(size)]
