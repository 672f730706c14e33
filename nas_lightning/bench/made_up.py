"""Data for measurements: images as large as real ones, without a download."""

from __future__ import annotations

from typing import Any, final

import torch

from nas_lightning.data import CIFAR10, TensorImages
from nas_lightning.data.base import Part
from nas_lightning.randomness import mix_seed


@final
class MadeUpCIFAR(CIFAR10):
    """Random bytes in the shape of CIFAR-10, with its augmentation.

    Args:
        train_size: Number of training images.
        kwargs: Arguments of `CIFAR10`.
    """

    def __init__(self, train_size: int = 1024, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_size = train_size

    def load(self, part: Part) -> TensorImages:
        """Return random bytes (N, 3, 32, 32)."""
        generator = torch.Generator().manual_seed(mix_seed(0 if part == "train" else 1))
        shape = (self.train_size, 3, 32, 32)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return TensorImages(images, (torch.arange(self.train_size) % self.num_classes).tolist())
