"""Data sets: images held in memory, and augmentation that can be repeated."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_lightning.data.transforms import Transform
from nas_lightning.randomness import mix_seed


class LabelledImages(Protocol):
    """What a data module reads from: images with classes, before any transform."""

    labels: Sequence[int]

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return one image (PIL or tensor) and its class."""


class TensorImages:
    """Images that fit in memory.

    Args:
        images: Tensor (N, C, H, W).
        labels: N classes, counted from 0.
    """

    def __init__(self, images: Tensor, labels: Sequence[int]) -> None:
        self.images = images
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image (C, H, W) and its class."""
        return self.images[index], self.labels[index]


class AugmentedDataset(Dataset[tuple[Tensor, int]]):
    """Applies a transform whose draws depend only on seed, epoch and index.

    So a sample looks the same whichever worker or rank loads it and in whatever order, and a
    resumed run sees the same images. The caller's random state is left as it was.

    Args:
        base: Where the images come from.
        transform: From an image of `base` to a tensor (C, H, W); draws from torch's CPU generator.
        seed: Seed of the augmentation.
    """

    def __init__(self, base: LabelledImages, transform: Transform, seed: int) -> None:
        self.base = base
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        """Samples of the whole base data set; a sampler picks from them."""
        return len(self.base.labels)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """Return the image `(epoch, index)` as a tensor (C, H, W), and its class."""
        epoch, index = key
        image, label = self.base[index]
        # the generator itself: torch.manual_seed and fork_rng also ask every accelerator, which
        # takes some 200 microseconds a sample instead of 5
        generator = torch.default_generator
        state = generator.get_state()
        try:
            generator.manual_seed(mix_seed(self.seed, epoch, index))
            return self.transform(image), label
        finally:
            generator.set_state(state)
