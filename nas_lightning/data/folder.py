"""Images in one folder per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.data.base import ImageData, Part
from nas_lightning.data.image_files import ImageFiles
from nas_lightning.data.listing import class_folders, list_images
from nas_lightning.data.transforms import (
    NormalizeBytes,
    ToRGB,
    centre_crop_transform,
    resized_crop_transform,
)
from nas_lightning.errors import DataError, UsageError

# the usual ones of ImageNet
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(ImageData):
    """Image files in `root/train/<class>/` and, as the test set, `root/test/<class>/`.

    Without a folder `test`, `val` is the test set. Images may be grey, with a palette, CMYK or
    with alpha: all become RGB. Augmentation: a random part of at least half the area, mirroring,
    and `cutout` if wanted.

    Args:
        root: Folder that holds `train` and `test` or `val`.
        image_size: Height and width in pixels that images are brought to.
        broken_images: How many different images that cannot be read may be skipped before the run
            stops, in the training and in the test set each, and by each process; 0: the first one
            stops it. The next image of the same class stands in for a skipped one.
        kwargs: Arguments of all data sets, see `ImageData`.

    Raises:
        UsageError: If an argument is out of range.
        DataError: If `root/train` is missing or has no classes.
    """

    test_folders: ClassVar[Sequence[str]] = ("test", "val")

    def __init__(
        self, root: str = "data", image_size: int = 64, broken_images: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 1:
            raise UsageError(f"image_size is {image_size}, but must be at least 1.")
        if broken_images < 0:
            raise UsageError(f"broken_images is {broken_images}, but must be 0 or more.")
        self.root = root
        self.image_size = image_size
        self.broken_images = broken_images
        self.class_names: tuple[str, ...] = class_folders(Path(root) / "train")

    @property
    def data_spec(self) -> dict[str, int]:
        """Three channels, as many classes as there are folders in `root/train`."""
        return {
            "in_channels": 3,
            "num_classes": len(self.class_names),
            "image_size": self.image_size,
        }

    @property
    def broken(self) -> list[str]:
        """Paths of the images that this process and its loaders could not read so far."""
        return [path for files in self._files() for path in files.broken]

    def setup(self, stage: str | None = None) -> None:
        """List what the stage (`fit`, `validate`, `test`, `predict`; None: all) needs, once.

        Raises:
            DataError: If a folder is missing or has no images.
            UsageError: If the trainer would replace the samplers.
        """
        super().setup(stage)
        if isinstance(train := self._sets.get("train"), ImageFiles):
            train.keep_apart(*self._indices)

    def load(self, part: Part) -> ImageFiles:
        """List the files of the training or the test set."""
        folder = Path(self.root) / "train" if part == "train" else self._test_folder()
        classes = class_folders(folder)
        if classes != self.class_names:
            differing = ", ".join(sorted(set(classes) ^ set(self.class_names))[:5])
            raise DataError(
                f"The classes in {str(folder)!r} differ from those in the training folder "
                f"(such as {differing}): both need the same class folders."
            )
        return ImageFiles(*list_images(folder, classes), allowed=self.broken_images)

    def augmentation(self) -> list[nn.Module]:
        """Steps from an RGB image to an augmented one of the wanted size."""
        return resized_crop_transform(self.image_size)

    def train_transform(self) -> list[nn.Module]:
        """To RGB, augmentation, normalise."""
        return [ToRGB(), *self.augmentation(), PILToTensor(), NormalizeBytes(_MEAN, _STD)]

    def eval_transform(self) -> list[nn.Module]:
        """To RGB, resize, centre crop, normalise."""
        return [
            ToRGB(),
            *centre_crop_transform(self.image_size),
            PILToTensor(),
            NormalizeBytes(_MEAN, _STD),
        ]

    def _files(self) -> list[ImageFiles]:
        return [files for files in self._sets.values() if isinstance(files, ImageFiles)]

    def _test_folder(self) -> Path:
        for name in self.test_folders:
            if (folder := Path(self.root) / name).is_dir():
                return folder
        names = " or ".join(repr(name) for name in self.test_folders)
        raise DataError(
            f"There is no test set in {self.root!r}: put its class folders into {names}."
        )
