"""Image files in one folder per class, such as ImageNet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.data.base import ImageData, Part
from nas_lightning.data.transforms import (
    NormalizeBytes,
    ToRGB,
    centre_crop_transform,
    resized_crop_transform,
)
from nas_lightning.errors import DataError, UsageError

# the usual ones of ImageNet
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFiles:
    """Images that are read from disk when they are asked for.

    Args:
        files: The image files.
        labels: Their classes, counted from 0.
    """

    def __init__(self, files: Sequence[Path], labels: Sequence[int]) -> None:
        self.files = files
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return one PIL image of any mode and its class; DataError if it cannot be read."""
        path = self.files[index]
        try:
            with Image.open(path) as image:
                image.load()
                return image, self.labels[index]
        # Pillow raises SyntaxError and ValueError for some damaged files
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"The image {str(path)!r} cannot be read ({error}): replace or remove it."
            ) from error


class ImageFolder(ImageData):
    """Image files in `root/train/<class>/` and, as the test set, `root/test/<class>/`.

    Without a folder `test`, `val` is the test set, as in ImageNet. Images may be grey, with a
    palette, CMYK or with alpha: all become RGB. Augmentation: a random part of at least half the
    area, mirroring, and `cutout` if wanted.

    Args:
        root: Folder that holds `train` and `test` or `val`.
        image_size: Height and width in pixels that images are brought to.
        kwargs: Arguments of all data sets, see `ImageData`.

    Raises:
        UsageError: If an argument is out of range.
        DataError: If `root/train` is missing or has no classes.
    """

    def __init__(self, root: str = "data", image_size: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if image_size < 1:
            raise UsageError(f"image_size is {image_size}, but must be at least 1.")
        self.root = root
        self.image_size = image_size
        self.class_names: tuple[str, ...] = _class_names(Path(root) / "train")

    @property
    def data_spec(self) -> dict[str, int]:
        """Three channels, as many classes as there are folders in `root/train`."""
        return {
            "in_channels": 3,
            "num_classes": len(self.class_names),
            "image_size": self.image_size,
        }

    def load(self, part: Part) -> ImageFiles:
        """List the files of the training or the test set."""
        folder = Path(self.root) / "train" if part == "train" else self._test_folder()
        classes = _class_names(folder)
        if classes != self.class_names:
            differing = ", ".join(sorted(set(classes) ^ set(self.class_names))[:5])
            raise DataError(
                f"The classes in {str(folder)!r} differ from those in the training folder "
                f"(such as {differing}): both need the same class folders."
            )
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            # in subfolders too: Tiny ImageNet keeps its files in <class>/images
            found = [p for p in (folder / name).rglob("*") if p.suffix.lower() in IMG_EXTENSIONS]
            if not found:
                raise DataError(
                    f"The class folder {str(folder / name)!r} holds no images "
                    f"({', '.join(IMG_EXTENSIONS)}): add some or remove the folder."
                )
            files += sorted(found)
            labels += [label] * len(found)
        return ImageFiles(files, labels)

    def train_transform(self) -> list[nn.Module]:
        """To RGB, random crop of at least half the area, mirror, normalise."""
        return [
            ToRGB(),
            *resized_crop_transform(self.image_size),
            PILToTensor(),
            NormalizeBytes(_MEAN, _STD),
        ]

    def eval_transform(self) -> list[nn.Module]:
        """To RGB, resize, centre crop, normalise."""
        return [
            ToRGB(),
            *centre_crop_transform(self.image_size),
            PILToTensor(),
            NormalizeBytes(_MEAN, _STD),
        ]

    def _test_folder(self) -> Path:
        for name in ("test", "val"):
            if (folder := Path(self.root) / name).is_dir():
                return folder
        raise DataError(
            f"There is no test set in {self.root!r}: put its class folders into 'test' or 'val'."
        )


def _class_names(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted; DataError if there are none."""
    if not folder.is_dir():
        raise DataError(
            f"The folder {str(folder)!r} was not found: set --data.root to a folder that holds "
            "'train' and 'test' or 'val', each with one folder per class."
        )
    # hidden folders are left behind by notebooks and file managers
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise DataError(f"The folder {str(folder)!r} has no class folders: make one per class.")
    return tuple(names)
