"""Patches of the sample photographs of scikit-learn: real data without a download."""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from nas_lightning.data.halves import Part
from nas_lightning.data.inverse import InverseData
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import at_least, check

HEIGHT, WIDTH = 427, 640  # of each photograph, in pixels
TEST_COLUMN = 448  # first column of the test patches, at seven tenths of the width
_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601


class Photographs(InverseData):
    """Grey patches of two photographs, a temple and a flower, with values from 0 to 1.

    The patches tile the photographs, so no two patches, and no two halves of a search, share a
    pixel. Training patches are from the left seven tenths of each photograph and test patches from
    the rest: 364 and 156 patches of 32 pixels. There is no augmentation. The peak of PSNR is 1.

    Args:
        size: Height and width of a patch in pixels.
        train_size: Number of training patches, before the split of `mode`; `None` means all.
        test_size: Number of test patches; `None` means all.
        kwargs: Arguments of all inverse problems, see `InverseData`.

    Raises:
        UsageError: An argument is out of range, or the operator does not accept this size.
    """

    dims = 2
    peak = 1.0
    samples = "patches"

    def __init__(
        self,
        size: int = 32,
        train_size: int | None = None,
        test_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, **kwargs)
        self.train_size = train_size
        self.test_size = test_size
        check(self, size=at_least(1, WIDTH - TEST_COLUMN))
        most = {part: 2 * len(self._corners(part)) for part in ("train", "test")}  # two photographs
        check(self, train_size=at_least(1, most["train"]), test_size=at_least(1, most["test"]))

    def truths(self, part: Part) -> Tensor:
        """Return the patches (N, 1, size, size) in a fixed random order."""
        colours = torch.from_numpy(np.stack(load_sample_images().images))  # (2, 427, 640, 3)
        grey = colours.float() @ torch.tensor(_GREY) / 255
        patches = torch.cat(
            [
                grey[:, top : top + self.size, left : left + self.size]
                for top, left in self._corners(part)
            ]
        )
        generator = torch.Generator().manual_seed(mix_seed(5 if part == "train" else 6))
        order = torch.randperm(len(patches), generator=generator)
        count = self.train_size if part == "train" else self.test_size
        return patches[order[:count], None]

    def _corners(self, part: str) -> list[tuple[int, int]]:
        """Return top and left of each patch of one photograph."""
        first, last = (0, TEST_COLUMN) if part == "train" else (TEST_COLUMN, WIDTH)
        return [
            (top, left)
            for top in range(0, HEIGHT - self.size + 1, self.size)
            for left in range(first, last - self.size + 1, self.size)
        ]
