"""Base class of image data modules, with classes, augmentation and cutout."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision.transforms import v2

from nas_lightning.data.dataset import AugmentedDataset, LabelledImages
from nas_lightning.data.halves import HalvedData, Part
from nas_lightning.data.transforms import Cutout
from nas_lightning.ranges import at_least, check

__all__ = ["ImageData", "Part"]


class ImageData(HalvedData[LabelledImages], ABC):
    """Images and classes for a search or a retraining.

    A batch is `(x, y)`: images x (B, C, H, W) and classes y (B,).

    Args:
        cutout: Side in pixels of the square that training sets to zero in each image; 0 for none.
        kwargs: Arguments of all data sets, see `HalvedData`.

    Raises:
        UsageError: An argument is out of range.
    """

    class_names: tuple[str, ...] | None = None
    samples = "images"

    def __init__(self, cutout: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cutout = cutout
        check(self, cutout=at_least(0))

    @property
    @abstractmethod
    def data_spec(self) -> dict[str, int]:
        """The sizes `in_channels`, `num_classes`, `image_size` (pixels), known before `setup`."""

    @abstractmethod
    def train_transform(self) -> list[nn.Module]:
        """Return the steps from a stored image to an augmented tensor, except cutout."""

    @abstractmethod
    def eval_transform(self) -> list[nn.Module]:
        """Return the steps from a stored image to a tensor, without randomness."""

    def labels(self, loaded: LabelledImages) -> Sequence[int]:
        """Return the class of each image."""
        return loaded.labels

    def dataset(self, loaded: LabelledImages, *, training: bool) -> AugmentedDataset:
        """Return the data set of transformed images."""
        steps = self.train_transform() if training else self.eval_transform()
        if training and self.cutout:
            steps = [*steps, Cutout(self.cutout)]
        transform = v2.Compose(steps) if steps else v2.Identity()
        return AugmentedDataset(loaded, transform, self._seed)
