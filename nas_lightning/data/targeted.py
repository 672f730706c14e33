"""Base class of image files with targets that are no single class: masks, labels or numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.data.classes import listed as in_words
from nas_lightning.data.classes import printable
from nas_lightning.data.dataset import AugmentedDataset
from nas_lightning.data.folder import MEAN, STD
from nas_lightning.data.halves import HalvedData, Part, Separate
from nas_lightning.data.listing import Ignored, list_all_images
from nas_lightning.data.pixels import WHITE
from nas_lightning.data.preprocessing import Preprocessing
from nas_lightning.data.read_image import UNREADABLE, read_image, reason
from nas_lightning.data.transforms import NormalizeBytes, resized_crop_transform
from nas_lightning.errors import DataError
from nas_lightning.ranges import POSITIVE, at_least, check


class TargetedFiles:
    """Image files and the target of each.

    Args:
        files: The files.
        target: Returns the target of an image, from its index and the upright RGB image; `None`
            gives 0 for each, as in predictions.
        background: Grey level that shows through transparent pixels, see `to_rgb`.
        white: Value of white in grey images of more than 8 bits, see `to_rgb`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        target: Callable[[int, Image.Image], Any] | None,
        background: int = WHITE,
        white: float | None = None,
    ) -> None:
        self.files = files
        self.labels: Sequence[int] = [0] * len(files)  # there are no classes by which to split
        self.broken: list[str] = []  # the first unreadable image ends a run
        self.target = target
        self.background = background
        self.white = white

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        """Return one image, an upright PIL image in mode RGB, and its target.

        Raises:
            DataError: It cannot be read, or its target does not fit.
        """
        path = self.files[index]
        try:
            image = read_image(path, self.background, self.white)
        except UNREADABLE as error:
            raise DataError(
                f"The image {str(path)!r} cannot be read ({reason(error)}): replace or remove it."
            ) from error
        return image, 0 if self.target is None else self.target(index, image)


class TargetedImages(HalvedData[TargetedFiles], ABC):
    """Image files in `root/train` and, as the test set, `root/test`, with targets.

    Without a folder `test`, `val` is the test set. With both, `val` is the validation set of a
    retraining, which then trains on all of `train`; a search uses `train` only. Predictions need no
    targets: they are of all images in `test` or, without it, in `root`.

    Images of every mode become RGB, upright as their Exif orientation says. The whole image is
    resized to a square. Augmentation: random crops of at least half the area, and horizontal flips.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        image_size: Height and width in pixels to which images are resized.
        augment: Crop and flip training images. False trains on whole images, such as for values
            that depend on the place or the size of what they show.
        background: Grey level that shows through transparent pixels, from 0 (black) to 255 (white).
        white: Value of white in grey images of more than 8 bits, 0 being black; `None` means the
            largest value of 16 bits. It is needed for images of 32 bits.
        kwargs: Arguments of all data sets, see `HalvedData`.

    Raises:
        UsageError: An argument is out of range.
    """

    samples = "images"

    def __init__(
        self,
        root: str = "data",
        image_size: int = 64,
        augment: bool = True,
        background: int = WHITE,
        white: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.image_size = image_size
        self.augment = augment
        self.background = background
        self.white = white
        check(self, image_size=at_least(1), background=at_least(0, WHITE), white=POSITIVE)
        self._notes: list[tuple[str, str]] = []

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs: classes, labels or values."""

    @abstractmethod
    def open(self, folder: Path) -> TargetedFiles:
        """List the images of a folder such as `root/train`, with targets.

        Raises:
            DataError: Something is missing or does not fit.
        """

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes: three channels, `num_classes` outputs, `image_size` pixels."""
        return {
            "in_channels": 3,
            "num_classes": len(self.outputs),
            "image_size": self.image_size,
        }

    @property
    def meaning(self) -> dict[str, Any]:
        """Mean and deviation of the normalisation, and what transparent pixels show."""
        return {"mean": MEAN, "std": STD, "background": self.background}

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The steps of an image in evaluation; `None` for a class with other steps."""
        own, ours = type(self), TargetedImages
        if (own.geometry, own.pixels) != (ours.geometry, ours.pixels):
            return None
        return Preprocessing(self.image_size, None, "RGB", MEAN, STD, self.background, self.white)

    def setup(self, stage: str | None = None) -> None:
        """List the files of a stage once (`fit`, `validate`, `test`, `predict`; `None` means all).

        Raises:
            DataError: A folder or a target is missing, or does not fit.
            UsageError: The trainer would replace the samplers.
        """
        self._notes = []
        super().setup(stage)
        if stage == "fit" and self.test_folder is None:
            self._notes.append(("warning", f"there is no test set in {printable(self.root)}"))

    def load(self, part: Part) -> TargetedFiles:
        """List the files of the training or the test set."""
        folder = Path(self.root) / "train" if part == "train" else self.test_folder
        if folder is None:
            raise DataError(f"There is no test set in {self.root!r}: put it into 'test' or 'val'.")
        if not folder.is_dir():
            raise DataError(
                f"The folder {str(folder)!r} was not found: set --data.root to a folder that "
                "contains 'train' and 'test' or 'val'."
            )
        return self.open(folder)

    def separate(self, part: Separate) -> TargetedFiles | None:
        """List `val` as validation set if it is not the test set, or images without targets."""
        if part == "val":
            return None if self.val_folder is None else self.open(self.val_folder)
        folder = self.image_folder(self.test_folder or Path(self.root))
        found = list_all_images(folder)
        if not found.labels:
            raise DataError(f"The folder {str(folder)!r} contains no images to predict.")
        self.note_ignored(folder, found.ignored)
        return TargetedFiles(found.files, None, self.background, self.white)

    def image_folder(self, folder: Path) -> Path:
        """Return the folder with the images of a set."""
        return folder

    @property
    def test_folder(self) -> Path | None:
        """The folder of the test set, if there is one."""
        folders = (Path(self.root) / name for name in ("test", "val"))
        return next((folder for folder in folders if folder.is_dir()), None)

    @property
    def val_folder(self) -> Path | None:
        """The folder of the validation set, if it is not a part of the training set."""
        folder = Path(self.root) / "val"
        return folder if folder.is_dir() and folder != self.test_folder else None

    @property
    def predicted_files(self) -> TargetedFiles | None:
        """The images that `predict_dataloader` reads, in the order of its indices."""
        return self._sets.get("predict")

    def summary(self) -> list[tuple[str, str]]:
        """Return lines with the folder, the outputs, the images, and what is not used."""
        (name, kind), *lines = super().summary()
        return [
            (name, f"{kind}, {printable(self.root)}"),
            (self.word, in_words(len(self.outputs), self.outputs)),
            *lines,
            *self._notes,
        ]

    word = "classes"
    """Word for the outputs in messages."""

    def note_ignored(self, folder: Path, ignored: Ignored) -> None:
        """Note what was not listed in a folder."""
        if text := str(ignored):
            shown = folder.relative_to(self.root) if folder != Path(self.root) else folder
            self._notes.append((f"ignored in {shown}/", text))

    def labels(self, loaded: TargetedFiles) -> Sequence[int]:
        """Return zeros, since there are no classes by which to split."""
        return loaded.labels

    def geometry(self, *, training: bool) -> list[nn.Module]:
        """Return the steps from an RGB image to one of `image_size`, the same for a mask."""
        if training and self.augment:
            return resized_crop_transform(self.image_size)
        return [v2.Resize((self.image_size, self.image_size))]

    def pixels(self) -> list[nn.Module]:
        """Return the steps from an RGB image to a normalised tensor."""
        return [PILToTensor(), NormalizeBytes(MEAN, STD)]

    def dataset(self, loaded: TargetedFiles, *, training: bool) -> AugmentedDataset:
        """Return the data set of transformed images."""
        steps = v2.Compose([*self.geometry(training=training), *self.pixels()])
        return AugmentedDataset(loaded, steps, self._seed)
