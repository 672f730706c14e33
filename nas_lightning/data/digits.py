"""The handwritten digits of scikit-learn: real data without a download."""

from typing import Any

import torch
from sklearn.datasets import load_digits

from nas_lightning.data.base import Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.in_memory import InMemoryImages
from nas_lightning.data.preparation import Preparation
from nas_lightning.data.split import split_indices
from nas_lightning.ranges import FRACTION, check

# over all 1,797 images, on a scale from 0 to 1
_MEAN, _STD = (0.3053,), (0.3760,)


class Digits(InMemoryImages):
    """1,797 grey scans of handwritten digits, 8 by 8 pixels. Augmentation: shifts by one pixel.

    Args:
        test_fraction: Share of the images in the test set. The split does not depend on `seed`, so
            that runs with different seeds are comparable.
        kwargs: Arguments of all data sets, see `InMemoryImages`.

    Raises:
        UsageError: An argument is out of range.
    """

    class_names = tuple(str(digit) for digit in range(10))

    def __init__(self, test_fraction: float = 0.2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.test_fraction = test_fraction
        check(self, test_fraction=FRACTION)

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes: one channel, ten classes, 8 pixels."""
        return {"in_channels": 1, "num_classes": 10, "image_size": 8}

    def load(self, part: Part) -> TensorImages:
        """Return the training or the test images, bytes (N, 1, 8, 8)."""
        pixels, labels = load_digits(return_X_y=True)
        # scale from 0 .. 16 to 0 .. 255
        images = torch.tensor(pixels).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        train, test = split_indices(labels.tolist(), self.test_fraction, seed=0)
        indices = train if part == "train" else test
        return TensorImages(images[indices], labels[indices].tolist())

    def preparation(self) -> Preparation:
        """Return shifts by up to one pixel and normalisation."""
        return Preparation(padding=1, mean=_MEAN, std=_STD)
