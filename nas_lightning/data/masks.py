"""Image files with a mask each, for segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from nas_lightning.data.classes import named, printable
from nas_lightning.data.dataset import AugmentedDataset
from nas_lightning.data.file_list import FileList
from nas_lightning.data.listing import list_all_images
from nas_lightning.data.read_mask import read_mask
from nas_lightning.data.targeted import TargetedFiles, TargetedImages
from nas_lightning.errors import DataError, UsageError
from nas_lightning.text import few
from nas_lightning.text_files import read_text

IGNORED = 255
"""Value of pixels without a label."""
NAMES = "classes.txt"
LOOKS = 20
"""Number of masks that are read before a training."""


class JointTransform(nn.Module):
    """Crops, flips and resizes an image and its mask alike; normalises the image.

    Args:
        geometry: Steps for both. Masks take the nearest pixel, so that no classes are mixed.
        pixels: Steps from an image to a tensor.
    """

    def __init__(self, geometry: Sequence[nn.Module], pixels: Sequence[nn.Module]) -> None:
        super().__init__()
        self.geometry = v2.Compose(list(geometry))
        self.pixels = v2.Compose(list(pixels))

    def forward(self, image: Image.Image, mask: Tensor | int) -> tuple[Tensor, Tensor | int]:
        """Return an image (3, S, S) and its mask (S, S); a mask that is no tensor stays as it is.

        Args:
            image: The image.
            mask: Its mask (H, W).
        """
        if not isinstance(mask, Tensor):
            return self.pixels(self.geometry(image)), mask
        image, moved = self.geometry(image, tv_tensors.Mask(mask[None]))
        return self.pixels(image), moved.as_subclass(Tensor)[0]


class MaskedDataset(AugmentedDataset):
    """Applies a `JointTransform` to images and masks."""

    def transformed(self, image: Any, label: Any) -> tuple[Tensor, Any]:
        """Return the transformed image and mask."""
        joint: Any = self.transform
        found: tuple[Tensor, Any] = joint(image, label)
        return found


class ImageMasks(TargetedImages):
    """Images in `root/train/images` and their masks, `root/train/masks/<same name>.png`.

    A mask is a grey or palette PNG file of the size of its image. The value of a pixel is the
    number of its class; 255 means that it has no label. A batch is `(x, y)`: images x
    (B, 3, S, S) and masks y (B, S, S). The test set is in `root/test` in the same way, see
    `TargetedImages`, also for the augmentation, which is the same for image and mask.

    Args:
        root: Folder that contains `train` and `test` or `val`.
        classes: Names of the classes, in the order of their numbers from 0; `None` reads them from
            `root/classes.txt`, one name a line.
        kwargs: Arguments of `TargetedImages`.

    Raises:
        UsageError: An argument is out of range, or there are fewer than two names or equal ones.
        DataError: There is no file with the names.
    """

    def __init__(
        self, root: str = "data", classes: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(root=root, **kwargs)
        self.classes = classes
        self.class_names = tuple(self._read_names() if classes is None else classes)
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise UsageError(
                f"ImageMasks: classes must be two different names or more, found "
                f"{few([repr(name) for name in self.class_names]) or 'none'}"
            )
        if len(self.class_names) > IGNORED:
            raise UsageError(
                f"ImageMasks: classes must be at most {IGNORED}, found {len(self.class_names)}"
            )

    def _read_names(self) -> list[str]:
        path = Path(self.root) / NAMES
        if not path.is_file():
            raise DataError(
                f"Nothing names the classes: write {str(path)!r} with one name a line, the first "
                "for pixels of value 0, or set --data.classes."
            )
        return [line.strip() for line in read_text(path, error=DataError).splitlines() if line]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.class_names

    def image_folder(self, folder: Path) -> Path:
        """Return the folder `images` of a set; without it, as in predictions, the set itself."""
        return folder / "images" if (folder / "images").is_dir() else folder

    def open(self, folder: Path) -> TargetedFiles:
        """List the images of a set, each with its mask."""
        for name in ("images", "masks"):
            if not (folder / name).is_dir():
                raise DataError(
                    f"The folder {str(folder)!r} has no folder {name!r}: images go into 'images', "
                    "and a mask of the same name for each into 'masks'."
                )
        images, masks = (list_all_images(folder / name) for name in ("images", "masks"))
        for name, found in (("images", images), ("masks", masks)):
            self.note_ignored(folder / name, found.ignored)
        stems = _stems(images.files)
        by_stem = {
            stem: index
            for index, stem in enumerate(_stems(masks.files))
            if masks.files[index].suffix.lower() == ".png"
        }
        for index, stem in enumerate(stems):
            if stem not in by_stem:
                raise DataError(
                    f"The image {str(images.files[index])!r} has no mask: add "
                    f"{str(folder / 'masks' / stem) + '.png'!r}, or remove the image."
                )
        if len(set(stems)) < len(stems):
            twice = next(stem for i, stem in enumerate(stems) if stem in stems[:i])
            raise DataError(
                f"In {str(folder / 'images')!r} two images have the name {twice!r}, so they would "
                "share a mask: rename one."
            )
        if more := len(masks.files) - len(stems):
            self._notes.append((f"ignored in {folder.name}/masks/", f"{more:,} without an image"))
        order = [by_stem[stem] for stem in stems]
        read = _Masks(masks.files, order, self.class_names)
        return TargetedFiles(images.files, read, self.background, self.white)

    def setup(self, stage: str | None = None) -> None:
        """List the files of a stage once, and look at the first masks of the training set.

        Raises:
            DataError: A folder or a mask is missing, or does not fit.
            UsageError: The trainer would replace the samplers.
        """
        super().setup(stage)
        if stage == "fit":
            self._look()

    def _look(self) -> None:
        """Note the shares of the classes in the first masks."""
        train = self._sets["train"]
        seen = min(LOOKS, len(train.labels))
        counts = np.zeros(IGNORED + 1, dtype=np.int64)
        for index in range(seen):
            counts += np.bincount(train[index][1].flatten().numpy(), minlength=IGNORED + 1)
        shares = counts / counts.sum()
        found = [f"{printable(name)} {shares[i]:.1%}" for i, name in enumerate(self.class_names)]
        self._notes.append((f"first {seen} masks", f"{few(found)}; no label {shares[IGNORED]:.1%}"))
        if np.count_nonzero(counts[:IGNORED]) < 2 and counts[IGNORED]:
            self._notes.append(
                ("warning", f"only one class in these masks: {IGNORED} means no label, so a "
                            f"foreground of {IGNORED} must become 1")
            )  # fmt: skip

    def dataset(self, loaded: TargetedFiles, *, training: bool) -> MaskedDataset:
        """Return the data set of transformed images and masks."""
        steps: Any = JointTransform(self.geometry(training=training), self.pixels())
        return MaskedDataset(loaded, steps, self._seed)


class _Masks:
    """The masks of images, read when they are needed.

    Args:
        files: The mask files.
        order: Index of the mask of each image.
        names: Names of the classes.
    """

    def __init__(self, files: FileList, order: Sequence[int], names: Sequence[str]) -> None:
        self.files = files
        self.order = torch.tensor(order)
        self.names = names

    def __call__(self, index: int, image: Image.Image) -> Tensor:
        """Return the mask (H, W) of an image.

        Raises:
            DataError: It cannot be read, has another size, or a value that is no class.
        """
        path = self.files[int(self.order[index])]
        mask = read_mask(path)
        height, width = mask.shape
        if (width, height) != image.size:
            raise DataError(
                f"The mask {str(path)!r} has {width} by {height} pixels, but its image "
                f"{image.width} by {image.height}: save it in the size of the image."
            )
        wrong = mask[(mask >= len(self.names)) & (mask != IGNORED)]
        if wrong.size:
            raise DataError(
                f"The mask {str(path)!r} has pixels of value {int(wrong[0])}, but there are "
                f"{named(range(len(self.names)), self.names)}, 0 to {len(self.names) - 1}, and "
                f"{IGNORED} for no label: mend it, or name more classes."
            )
        return torch.from_numpy(mask.astype(np.uint8))


def _stems(files: FileList) -> list[str]:
    """Return the names of files relative to their folder and without suffix."""
    return [str(path.relative_to(files.folder).with_suffix("")) for path in files]
