"""Image files in one folder per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.data.base import ImageData, Part, Separate
from nas_lightning.data.classes import named, printable
from nas_lightning.data.image_files import ImageFiles
from nas_lightning.data.listing import (
    Listed,
    class_folders,
    list_all_images,
    list_images,
    training_classes,
)
from nas_lightning.data.pixels import WHITE
from nas_lightning.data.preprocessing import Preprocessing
from nas_lightning.data.transforms import (
    NormalizeBytes,
    ToRGB,
    centre_crop_transform,
    resized_crop_transform,
    shorter_side,
)
from nas_lightning.errors import DataError
from nas_lightning.ranges import POSITIVE, at_least, check

# the usual values of ImageNet
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(ImageData):
    """Image files in `root/train/<class>/` and, as the test set, `root/test/<class>/`.

    Without a folder `test`, `val` is the test set. With both, `val` is the validation set of a
    retraining, which then trains on all of `train`; a search uses `train` only. The test set may
    lack classes. Predictions need no class folders: they are of all images in `test` or, without
    it, in `root`. Links are followed.

    Images of every mode become RGB, upright as
    their Exif orientation says; transparent pixels show `background`. Augmentation: random crops
    of at least half the area, horizontal flips, and optionally `cutout`.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        image_size: Height and width in pixels to which images are resized.
        broken_images: Number of different unreadable images that may be skipped before the run
            stops, counted per process and separately for the training and the test set. With 0,
            the first one stops the run. The next image of the same class replaces a skipped one.
        background: Grey level that shows through transparent pixels, from 0 (black) to 255 (white).
        white: Value of white in grey images of more than 8 bits, 0 being black; `None` means the
            largest value of 16 bits. It is needed for images of 32 bits.
        kwargs: Arguments of all data sets, see `ImageData`.

    Raises:
        UsageError: An argument is out of range.
        DataError: `root/train` has no class folders, or only one.
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
        self.root = root
        self.image_size = image_size
        self.broken_images = broken_images
        self.background = background
        self.white = white
        check(self, image_size=at_least(1), broken_images=at_least(0))
        check(self, background=at_least(0, WHITE), white=POSITIVE)
        train = Path(root) / "train"
        # without `train`, new images are predicted or tested: a checkpoint has the names
        self.class_names = training_classes(train) if train.is_dir() else None
        self._notes: list[tuple[str, str]] = []

    def take_class_names(self, names: Sequence[str] | None) -> None:
        """Take the class names that a checkpoint records, if there is no training set.

        Raises:
            DataError: There are no names.
        """
        if self.class_names is not None:
            return
        if not names:
            raise DataError(
                f"There is no folder 'train' in {self.root!r}, and the checkpoint, of an earlier "
                "release, does not name its classes: set --data.root to a folder with both."
            )
        self.class_names = tuple(names)

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes: three channels, one class per folder in `root/train`, `image_size` pixels."""
        return {
            "in_channels": 3,
            "num_classes": len(self._classes()),
            "image_size": self.image_size,
        }

    @property
    def meaning(self) -> dict[str, Any]:
        """Mean and deviation of the normalisation, and what transparent pixels show."""
        return {"mean": MEAN, "std": STD, "background": self.background}

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The steps of `eval_transform`; `None` for a class with one of its own."""
        if type(self).eval_transform is not ImageFolder.eval_transform:
            return None
        size = self.image_size
        shorter = shorter_side(size)
        return Preprocessing(size, shorter, "RGB", MEAN, STD, self.background, self.white)

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
        self._notes = []
        super().setup(stage)
        if isinstance(train := self._sets.get("train"), ImageFiles):
            train.keep_apart(*self._indices)
        if stage == "fit":
            self._look_ahead()

    def load(self, part: Part) -> ImageFiles:
        """List the files of the training or the test set."""
        folder = Path(self.root) / "train" if part == "train" else self._test_folder()
        if folder is None:
            names = " or ".join(repr(name) for name in self.test_folders)
            raise DataError(
                f"There is no test set in {self.root!r}: put its class folders into {names}."
            )
        if part != "train" and not self._has_classes(folder):
            raise DataError(
                f"The folder {str(folder)!r} has none of the class folders of the training "
                f"({named(range(len(self._classes())), self._classes())}): create them, or use "
                "`nas predict`, which needs none."
            )
        listed = list_images(folder, self._classes())
        present = set(listed.labels)
        empty = [name for label, name in enumerate(self._classes()) if label not in present]
        if part == "train" and empty:
            raise DataError(
                f"The class folder {str(folder / empty[0])!r} contains no images "
                f"({', '.join(IMG_EXTENSIONS)}): add some or remove the folder."
            )
        return self._open(folder, listed)

    def separate(self, part: Separate) -> ImageFiles | None:
        """List `val` as validation set if it is not the test set, or images without classes."""
        if part == "val":
            if (folder := self.val_folder) is None:
                return None
            return self._open(folder, list_images(folder, self._classes()))
        folder = self._test_folder() or Path(self.root)
        listed = list_all_images(folder)
        if not listed.labels:
            raise DataError(f"The folder {str(folder)!r} contains no images to predict.")
        return self._open(folder, listed)

    @property
    def val_folder(self) -> Path | None:
        """The folder of the validation set, if it is not a part of the training set.

        Raises:
            DataError: It has a class that the training set does not have.
        """
        folder, test = Path(self.root) / "val", self._test_folder()
        if test is None or test == folder or not folder.is_dir():
            return None
        return folder if self._has_classes(folder) else None

    @property
    def predicted_files(self) -> ImageFiles | None:
        """The images that `predict_dataloader` reads, in the order of its indices."""
        found = self._sets.get("predict")
        return found if isinstance(found, ImageFiles) else None

    def summary(self) -> list[tuple[str, str]]:
        """Return lines with the folder, the classes, the images, and what is not used."""
        (name, kind), *lines = super().summary()
        return [(name, f"{kind}, {printable(self.root)}"), *lines, *self._notes]

    def _classes(self) -> tuple[str, ...]:
        if self.class_names is None:
            return training_classes(Path(self.root) / "train")  # raises, unless it came meanwhile
        return self.class_names

    def _open(self, folder: Path, found: Listed) -> ImageFiles:
        """Return the images of a folder, and note what was ignored."""
        if text := str(found.ignored):
            self._notes.append((f"ignored in {folder.name}/", text))
        return ImageFiles(
            found.files, found.labels, self.broken_images, self.background, self.white
        )

    def _has_classes(self, folder: Path) -> bool:
        """Return True if a folder has class folders of the training set, and no others.

        A single other folder is not taken for a class, since some sets come as `test/images`.

        Raises:
            DataError: It has other class folders, too, or several.
        """
        found, classes = set(class_folders(folder)), set(self._classes())
        unknown = sorted(found - classes)
        if unknown and (len(unknown) > 1 or found & classes):
            raise DataError(
                f"The folder {str(folder)!r} has {named(range(len(unknown)), unknown)}, which the "
                "training set does not have: rename or remove the folder."
            )
        return bool(found & classes) and not unknown

    def _look_ahead(self) -> None:
        """Note what a training does not use, and refuse a test set that cannot be tested later."""
        root, test = Path(self.root), self._test_folder()
        if test is None:
            self._notes.append(("warning", f"there is no test set in {printable(self.root)}"))
        elif not self._has_classes(test):
            self._notes.append(("warning", f"{test.name}/ has no class folders: it can be "
                                           "predicted, but not tested"))  # fmt: skip
        elif test.name == "val":
            self._notes.append(("test set", "val/, which a training does not read"))
        if self.mode == "retrain" and self.val_folder is not None:
            self._notes.append(("validation", "all images in val/; val_fraction is not used"))
        for name in ("val", "test"):
            other = root / name
            if not other.is_dir() or other == test:
                continue
            if self.mode == "search" and other == self.val_folder:
                self._notes.append(("not used", f"{name}/: a search uses train/ only"))
            elif other != self.val_folder:
                self._notes.append(("not used", f"{name}/"))

    def augmentation(self) -> list[nn.Module]:
        """Return the steps from an RGB image to an augmented one of size `image_size`."""
        return resized_crop_transform(self.image_size)

    def train_transform(self) -> list[nn.Module]:
        """Return the conversion to RGB, the augmentation and the normalisation."""
        return [self._rgb(), *self.augmentation(), PILToTensor(), NormalizeBytes(MEAN, STD)]

    def eval_transform(self) -> list[nn.Module]:
        """Return the conversion to RGB, resizing, a centre crop and the normalisation."""
        return [
            self._rgb(),
            *centre_crop_transform(self.image_size),
            PILToTensor(),
            NormalizeBytes(MEAN, STD),
        ]

    def _rgb(self) -> ToRGB:
        # images of `ImageFiles` are RGB already; a subclass may load others
        return ToRGB(self.background, self.white)

    def _files(self) -> list[ImageFiles]:
        return [files for files in self._sets.values() if isinstance(files, ImageFiles)]

    def _test_folder(self) -> Path | None:
        folders = (Path(self.root) / name for name in self.test_folders)
        return next((folder for folder in folders if folder.is_dir()), None)
