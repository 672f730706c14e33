"""Image files in one folder per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.data.base import ImageData, Part
from nas_lightning.data.image_files import ImageFiles
from nas_lightning.data.listing import class_folders, list_images
from nas_lightning.data.pixels import WHITE
from nas_lightning.data.transforms import (
    NormalizeBytes,
    ToRGB,
    centre_crop_transform,
    resized_crop_transform,
)
from nas_lightning.errors import DataError, UsageError

# the usual values of ImageNet
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(ImageData):
    """Image files in `root/train/<class>/` and, as the test set, `root/test/<class>/`.

    Without a folder `test`, `val` is the test set. Images of every mode become RGB, upright as
    their Exif orientation says; transparent pixels show `background`. Augmentation: random crops
    of at least half the area, horizontal flips, and optionally `cutout`.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        image_size: Height and width in pixels to which images are resized.
        broken_images: Number of different unreadable images that may be skipped before the run
            stops, counted per process and separately for the training and the test set. With 0,
            the first one stops the run. The next image of the same class replaces a skipped one.
        background: Grey level behind transparent pixels, from 0 (black) to 255 (white).
        white: Value of white in grey images of more than 8 bits, 0 being black; `None` means the
            largest value of 16 bits. It is needed for images of 32 bits.
        kwargs: Arguments of all data sets, see `ImageData`.

    Raises:
        UsageError: An argument is out of range.
        DataError: `root/train` is missing or has no classes.
    """

    test_folders: ClassVar[Sequence[str]] = ("test", "val")

    def __init__(
        self,
        root: str = "data",
        image_size: int = 64,
        broken_images: int = 0,
        background: int = WHITE,
        white: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 1:
            raise UsageError(f"image_size is {image_size}, but must be at least 1.")
        if broken_images < 0:
            raise UsageError(f"broken_images is {broken_images}, but must be 0 or more.")
        if not 0 <= background <= WHITE:
            raise UsageError(f"background is {background}, but must lie between 0 and {WHITE}.")
        if white is not None and not 0 < white < float("inf"):
            raise UsageError(f"white is {white}, but must be above 0.")
        self.root = root
        self.image_size = image_size
        self.broken_images = broken_images
        self.background = background
        self.white = white
        self.class_names: tuple[str, ...] = class_folders(Path(root) / "train")

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes: three channels, one class per folder in `root/train`, `image_size` pixels."""
        return {
            "in_channels": 3,
            "num_classes": len(self.class_names),
            "image_size": self.image_size,
        }

    @property
    def meaning(self) -> dict[str, Any]:
        """Mean and deviation of the normalisation."""
        return {"mean": _MEAN, "std": _STD}

    @property
    def broken(self) -> list[str]:
        """Paths of the images that this process and its loader processes could not read so far."""
        return [path for files in self._files() for path in files.broken]

    def setup(self, stage: str | None = None) -> None:
        """List the files of a stage once (`fit`, `validate`, `test`, `predict`; `None` means all).

        Raises:
            DataError: A folder is missing or has no images.
            UsageError: The trainer would replace the samplers.
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
                f"(such as {differing}): create the same class folders in both."
            )
        files, labels = list_images(folder, classes)
        return ImageFiles(files, labels, self.broken_images, self.background, self.white)

    def augmentation(self) -> list[nn.Module]:
        """Return the steps from an RGB image to an augmented one of size `image_size`."""
        return resized_crop_transform(self.image_size)

    def train_transform(self) -> list[nn.Module]:
        """Return the conversion to RGB, the augmentation and the normalisation."""
        return [self._rgb(), *self.augmentation(), PILToTensor(), NormalizeBytes(_MEAN, _STD)]

    def eval_transform(self) -> list[nn.Module]:
        """Return the conversion to RGB, resizing, a centre crop and the normalisation."""
        return [
            self._rgb(),
            *centre_crop_transform(self.image_size),
            PILToTensor(),
            NormalizeBytes(_MEAN, _STD),
        ]

    def _rgb(self) -> ToRGB:
        # images of `ImageFiles` are RGB already; a subclass may load others
        return ToRGB(self.background, self.white)

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
