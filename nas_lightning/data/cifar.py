"""CIFAR-10 and CIFAR-100 in the format of torchvision."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torchvision import datasets

from nas_lightning.data.base import Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.in_memory import InMemoryImages
from nas_lightning.data.preparation import Preparation
from nas_lightning.errors import DataError


class CIFAR10(InMemoryImages):
    """60,000 colour images of 32 by 32 pixels in 10 classes; 10,000 of them are the test set.

    Augmentation: shifts by up to four pixels, horizontal flips, and optionally `cutout`.

    Args:
        root: Folder that contains the folder of the data set, `cifar-10-batches-py`.
        download: Download the data set into `root` if it is not there.
        kwargs: Arguments of all data sets, see `InMemoryImages`.

    Raises:
        UsageError: An argument is out of range.
    """

    num_classes: ClassVar[int] = 10
    mean: ClassVar[tuple[float, ...]] = (0.49139968, 0.48215827, 0.44653124)
    std: ClassVar[tuple[float, ...]] = (0.24703233, 0.24348505, 0.26158768)
    reader: ClassVar[Any] = datasets.CIFAR10

    def __init__(self, root: str = "data", download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.download = download

    @property
    def data_spec(self) -> dict[str, int]:
        """The sizes: three channels, 10 or 100 classes, 32 pixels."""
        return {"in_channels": 3, "num_classes": self.num_classes, "image_size": 32}

    def prepare_data(self) -> None:
        """Download a missing data set if `download` is set; runs in one process only."""
        if self.download:
            self._check_ordinary()
            try:
                self.reader(self.root, download=True)
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{type(self).__name__} could not be downloaded into {self.root!r} ({error}): "
                    "download it elsewhere and unpack it there."
                ) from error

    def load(self, part: Part) -> TensorImages:
        """Return the training or the test images, bytes (N, 3, 32, 32)."""
        folder = Path(self.root) / self.reader.base_folder
        self._check_ordinary()
        try:
            stored = self.reader(self.root, train=part == "train", download=False)
        except (OSError, RuntimeError) as error:
            state = "is damaged or incomplete" if folder.is_dir() else "was not found"
            raise DataError(
                f"{type(self).__name__} {state} in {str(folder)!r}: put the unpacked data set "
                "there, set --data.root to the folder that contains it, or download it with "
                "--data.download true."
            ) from error
        self.class_names = tuple(stored.classes)
        images = torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous()
        return TensorImages(images, stored.targets)

    def _check_ordinary(self) -> None:
        """Refuse a pipe or a device among the files: reading it might never end."""
        root, reader = Path(self.root), self.reader
        names = [name for name, _ in (*reader.train_list, *reader.test_list)]
        inner = [root / reader.base_folder / name for name in (*names, reader.meta["filename"])]
        for path in (root / reader.filename, *inner):
            if path.exists() and not path.is_file():
                raise DataError(f"{str(path)!r} is not an ordinary file: replace it.")

    def preparation(self) -> Preparation:
        """Return shifts by up to four pixels, horizontal flips and normalisation."""
        return Preparation(padding=4, flip=True, mean=self.mean, std=self.std)


class CIFAR100(CIFAR10):
    """60,000 colour images of 32 by 32 pixels in 100 classes; 10,000 of them are the test set.

    Augmentation: shifts by up to four pixels, horizontal flips, and optionally `cutout`.

    Args:
        root: Folder that contains the folder of the data set, `cifar-100-python`.
        download: Download the data set into `root` if it is not there.
        kwargs: Arguments of all data sets, see `InMemoryImages`.

    Raises:
        UsageError: An argument is out of range.
    """

    num_classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
    reader = datasets.CIFAR100

    def __init__(self, root: str = "data", download: bool = False, **kwargs: Any) -> None:
        # repeated because the command line shows the docstring of this class as help
        super().__init__(root=root, download=download, **kwargs)
