"""Data sets of images in memory, and reproducible augmentation."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from nas_lightning.data.transforms import Transform
from nas_lightning.randomness import mix_seed


class LabelledImages(Protocol):
    """Images with classes, before any transform, as a data module reads them."""

    labels: Sequence[int]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
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


class AugmentedDataset(Dataset[tuple[Tensor, Any]]):
    """Applies a transform whose draws depend only on seed, epoch and index.

    A sample is therefore the same in every worker, on every rank and in any order, and a resumed
    run sees the same images. The random state of the caller is not changed.

    Args:
        base: Images and classes.
        transform: Transform from an image of `base` to a tensor (C, H, W), which may draw from the
            CPU generator of PyTorch.
        seed: Seed of the augmentation.
    """

    def __init__(self, base: LabelledImages, transform: Transform, seed: int) -> None:
        self.base = base
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        """Return the size of the base data set, from which a sampler selects."""
        return len(self.base.labels)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Any]:
        """Return the image `index` in epoch `epoch` as a tensor (C, H, W), and its class."""
        epoch, index = key
        image, label = self.base[index]
        # set the generator directly: torch.manual_seed and fork_rng also query every accelerator,
        # which takes about 200 microseconds per sample instead of 5
        generator = torch.default_generator
        state = generator.get_state()
        try:
            generator.manual_seed(mix_seed(self.seed, epoch, index))
            return self.transformed(image, label)
        finally:
            generator.set_state(state)

    def transformed(self, image: Any, label: Any) -> tuple[Tensor, Any]:
        """Return the transformed image, and its class."""
        return self.transform(image), label
