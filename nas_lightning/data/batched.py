"""Augmentation of whole batches of images on their device.

Steps do not draw random numbers but receive them as arguments. No step reads the values of a
tensor on the host, so the host never waits for the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_lightning.data.transforms import NormalizeBytes
from nas_lightning.randomness import mix_seeds


class BatchedStep(nn.Module, ABC):
    """One step of an augmentation.

    Args:
        ranges: Ranges of the draws for each image: for each n, an integer from 0 to n - 1.
    """

    def __init__(self, ranges: Sequence[int] = ()) -> None:
        super().__init__()
        self.ranges = tuple(ranges)

    @abstractmethod
    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return augmented copies of the images.

        Args:
            images: Images (B, C, H, W).
            draws: Integers (B, len(ranges)), one row per image.
        """


class BatchShift(BatchedStep):
    """Shifts images by up to `padding` pixels and fills with zeros.

    Args:
        padding: Largest shift in pixels, in each direction.
    """

    def __init__(self, padding: int) -> None:
        super().__init__((2 * padding + 1, 2 * padding + 1))
        self.padding = padding

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop each image from its padded copy; the draws are top and left."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (self.padding,) * 4)
        rows = draws[:, :1] + torch.arange(height, device=images.device)  # (B, H)
        columns = draws[:, 1:] + torch.arange(width, device=images.device)  # (B, W)
        # flat pixel indices within a channel: on a CPU, one gather is several times faster than
        # indexing by rows and columns
        pixels = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]  # (B, H, W)
        pixels = pixels.flatten(1)[:, None].expand(-1, images.shape[1], -1)
        return padded.flatten(2).gather(2, pixels).view_as(images)


class BatchFlip(BatchedStep):
    """Flips half of the images horizontally."""

    def __init__(self) -> None:
        super().__init__((2,))

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Flip the images whose draw is 1."""
        return torch.where(draws.view(-1, 1, 1, 1) == 1, images.flip(-1), images)


class BatchNormalize(BatchedStep):
    """Converts bytes to normalised floats, see `NormalizeBytes`.

    Args:
        mean: Mean of each channel, on a scale from 0 to 1.
        std: Standard deviation of each channel, on a scale from 0 to 1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = NormalizeBytes(mean, std)

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Return normalised floats."""
        result: Tensor = self.normalize(images)
        return result


class BatchCutout(BatchedStep):
    """Sets a square of each image to zero, like `Cutout`.

    Args:
        length: Side of the square in pixels; an odd one is rounded down to the next even number.
        size: Height and width of the images in pixels.
    """

    def __init__(self, length: int, size: int) -> None:
        super().__init__((size, size))
        self.length = length

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Set the squares to zero; the draws are the row and the column of the centre."""
        height, width = images.shape[-2:]
        rows = self._inside(draws[:, :1], height)  # (B, H)
        columns = self._inside(draws[:, 1:], width)  # (B, W)
        return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)

    def _inside(self, centre: Tensor, size: int) -> Tensor:
        """Return a mask (B, size) of the rows or columns that the square covers."""
        distance = torch.arange(size, device=centre.device) - centre
        half = self.length // 2
        return (distance >= -half) & (distance < half)


class BatchedSteps(nn.Module):
    """A sequence of steps.

    Args:
        steps: Steps, in the order in which they are applied.
    """

    def __init__(self, steps: Sequence[BatchedStep]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self._columns = [len(step.ranges) for step in steps]
        self._ranges = [n for step in steps for n in step.ranges]

    def draws(self, seed: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the draws of all steps, which depend only on seed, epoch and index.

        Args:
            seed: Seed of the augmentation.
            pairs: Epoch and index of each sample (N, 2).

        Returns:
            Integers (N, number of draws). They are 63 random bits modulo the range n, so the
            relative frequencies of two values differ by at most n / 2^63.
        """
        epochs, indices = pairs[:, :1], pairs[:, 1:]
        bits = mix_seeds(seed, epochs, indices, np.arange(len(self._ranges)))
        return (bits % np.array(self._ranges, dtype=np.uint64)).astype(np.int64)

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Apply all steps to images (B, C, H, W), with draws (B, number of draws)."""
        for step, own in zip(self.steps, torch.split(draws, self._columns, dim=1), strict=True):
            images = step(images, own)
        return images
