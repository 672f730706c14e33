"""Base class of image data modules, with classes, augmentation and cutout."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torchvision.transforms import v2

from nas_lightning.data.classes import absent_classes, listed, named, refuse_absent
from nas_lightning.data.dataset import AugmentedDataset, LabelledImages
from nas_lightning.data.halves import HalvedData, Part, Separate
from nas_lightning.data.preprocessing import Preprocessing
from nas_lightning.data.transforms import Cutout
from nas_lightning.ranges import at_least, check

__all__ = ["ImageData", "Part", "Separate"]


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

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The steps from an image file to x in evaluation; `None` if x are not images of files.

        Checkpoints record them. They must give what `eval_transform` gives, so a class that
        overrides that method overrides this property too.
        """
        return None

    def setup(self, stage: str | None = None) -> None:
        """Open the sets of a stage once, and check their labels.

        Raises:
            DataError: Data is missing or damaged, a label is outside the range, or the training
                set has a single class or a class without images.
            UsageError: The trainer would replace the samplers.
        """
        super().setup(stage)
        classes = self.data_spec["num_classes"]
        for part, loaded in self._sets.items():
            if part == "predict":
                continue
            absent = absent_classes(self.labels(loaded), classes, f"the {part} set")
            if part == "train":
                refuse_absent(absent, classes, self.class_names)

    def summary(self) -> list[tuple[str, str]]:
        """Return lines with the classes, the images of each part, and the classes that lack any."""
        classes = self.data_spec["num_classes"]
        first, *lines = super().summary()
        lines = [first, ("classes", listed(classes, self.class_names)), *lines]
        for name, labels in self._parts():
            if absent := absent_classes(labels, classes, name):
                lines.append(
                    ("warning", f"no image of {named(absent, self.class_names)} in {name}")
                )
        return lines

    def _parts(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield the labels of each part that was opened."""
        if "train" in self._sets:
            labels = self.labels(self._sets["train"])
            names = ("the weight half", "the architecture half")
            if self.mode == "retrain":
                names = ("the training part", "the validation part")
            for name, indices in zip(names, self._indices, strict=True):
                if indices:
                    yield name, [labels[i] for i in indices]
        for part, name in (("val", "the validation set"), ("test", "the test set")):
            if part in self._sets:
                yield name, self.labels(self._sets[part])

    def take_class_names(self, names: Sequence[str] | None) -> None:
        """Take the class names that a checkpoint records, if the data itself has none.

        Args:
            names: The names; `None` if the checkpoint is of a release that recorded none.
        """

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
