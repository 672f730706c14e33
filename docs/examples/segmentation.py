"""Segmentation on embedded pixels: handwritten digits over crops of photographs."""

from typing import Any, ClassVar, final

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.data import HalvedData, Measurements

SIZE, ENLARGED = 24, 16  # pixels of an image and of a digit
STROKE, BORDER = 0.5, 0.25  # opacity above which a pixel is of the digit, or has no label
UNLABELLED = 255


@final
class DigitsOnPhotographs(HalvedData[Measurements]):
    """A digit of a random colour at a random place of a crop of a photograph, and its mask.

    A batch is `(x, y)`: images x (B, 3, 24, 24) and masks y (B, 24, 24), where 0 is the photograph
    and d + 1 the digit d; its blurred border has no label. Digits and photographs come with
    scikit-learn. Training and test images share neither a digit nor a pixel of a photograph. The
    images are the same in every epoch and for every seed.

    Args:
        train_size: Number of training images.
        test_size: Number of test images.
        kwargs: Arguments of all data sets, see `HalvedData`.
    """

    samples = "images"
    class_names = ("photograph", *(str(digit) for digit in range(10)))
    data_spec: ClassVar[dict[str, Any]] = {"in_channels": 3, "num_classes": 11, "image_size": SIZE}

    def __init__(self, train_size: int = 2000, test_size: int = 400, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_size = train_size
        self.test_size = test_size

    def load(self, part: str) -> Measurements:
        """Draw the training or the test images."""
        train = part == "train"
        count = self.train_size if train else self.test_size
        draw = np.random.default_rng(0 if train else 1)
        digits, labels = load_digits(return_X_y=True)
        photographs = np.stack(load_sample_images().images) / 255  # (2, 427, 640, 3)
        which = draw.integers(0, 1400, count) if train else draw.integers(1400, 1797, count)
        opacity = torch.from_numpy(digits[which]).float().view(-1, 1, 8, 8) / 16
        opacity = F.interpolate(opacity, (ENLARGED, ENLARGED), mode="bilinear")
        columns = (0, 448 - SIZE) if train else (448, 640 - SIZE)
        images, masks = [], []
        for digit, label in zip(opacity, labels[which], strict=True):
            left, top = draw.integers(0, SIZE - ENLARGED + 1, 2)
            room = (left, SIZE - ENLARGED - left, top, SIZE - ENLARGED - top)
            placed = F.pad(digit, room)  # (1, 24, 24)
            column, row = draw.integers(*columns), draw.integers(427 - SIZE)
            crop = photographs[draw.integers(2), row : row + SIZE, column : column + SIZE]
            photograph = torch.from_numpy(crop).permute(2, 0, 1).float()
            colour = torch.from_numpy(draw.random(3)).float().view(3, 1, 1)
            images.append(photograph + placed * (colour - photograph))
            masks.append(_mask(placed[0], int(label) + 1))
        return Measurements((torch.stack(images) - 0.5) / 0.25, torch.stack(masks))

    def labels(self, loaded: Measurements) -> list[int]:
        """Return zeros: the halves are drawn from all images alike."""
        return [0] * len(loaded)

    def dataset(self, loaded: Measurements, *, training: bool) -> Measurements:
        """Return the pairs, without augmentation."""
        return loaded


def _mask(opacity: Tensor, label: int) -> Tensor:
    mask = torch.zeros(opacity.shape, dtype=torch.uint8)
    mask[opacity > BORDER] = UNLABELLED
    mask[opacity > STROKE] = label
    return mask
