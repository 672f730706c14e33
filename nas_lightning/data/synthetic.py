"""Synthetic images that a small network can learn, for trials and tests."""

from typing import Any

import torch
import torch.nn.functional as F

from nas_lightning.data.base import Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.in_memory import InMemoryImages
from nas_lightning.data.preparation import Preparation
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import at_least, check

_PATTERN_SIZE = 4  # pixels: coarse enough to survive pooling
_NOISE = 0.5  # standard deviation; the patterns have about 1


class Synthetic(InMemoryImages):
    """Noisy copies of one pattern per class, which do not depend on `seed`.

    Args:
        in_channels: Number of channels of an image.
        num_classes: Number of classes, which are equally frequent.
        image_size: Height and width of an image in pixels.
        train_size: Number of training images, before the split of `mode`.
        test_size: Number of test images.
        kwargs: Arguments of all data sets, see `InMemoryImages`.

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        image_size: int = 16,
        train_size: int = 512,
        test_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.image_size = image_size
        self.train_size = train_size
        self.test_size = test_size
        check(self, in_channels=at_least(1), num_classes=at_least(1), image_size=at_least(1))
        check(self, train_size=at_least(1), test_size=at_least(1))

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes that the arguments set."""
        return {
            "in_channels": self.in_channels,
            "num_classes": self.num_classes,
            "image_size": self.image_size,
        }

    def load(self, part: Part) -> TensorImages:
        """Generate the training or the test images, floats (N, C, H, W)."""
        size = self.train_size if part == "train" else self.test_size
        generator = torch.Generator().manual_seed(mix_seed(0))
        coarse = torch.randn(
            self.num_classes, self.in_channels, _PATTERN_SIZE, _PATTERN_SIZE, generator=generator
        )
        patterns = F.interpolate(coarse, size=(self.image_size, self.image_size))
        labels = torch.arange(size) % self.num_classes
        # a new seed: the two parts share the patterns, but not the noise
        generator.manual_seed(mix_seed(1 if part == "train" else 2))
        shape = (size, *patterns.shape[1:])
        images = patterns[labels] + _NOISE * torch.randn(shape, generator=generator)
        return TensorImages(images, labels.tolist())

    def preparation(self) -> Preparation:
        """Return no steps, since flipped or shifted patterns do not occur in the test set."""
        return Preparation()
