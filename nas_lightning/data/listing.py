"""Listing of image files in one folder per class."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final, overload

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from nas_lightning.errors import DataError


@final
class FileList(Sequence[Path]):
    """Paths of many files below one folder, in one block of memory.

    Python writes a reference count to every object that it reads, so each loader process would
    soon have its own copy of a list of paths. The 1.28 million paths of ImageNet take about 400 MB
    as a list. Here they take 40 MB, which loader processes share.

    Args:
        folder: Common folder of the files.
        names: Names of the files, relative to the folder.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        """Return the path of a file, or a list of paths for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.folder / os.fsdecode(self._names[index])


def class_folders(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders in a folder.

    Raises:
        DataError: The folder is missing or has no class folders.
    """
    if not folder.is_dir():
        raise DataError(
            f"The folder {str(folder)!r} was not found: set --data.root to a folder that contains "
            "'train' and 'test' or 'val', each with one folder per class."
        )
    # notebooks and file managers create hidden folders
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise DataError(f"The folder {str(folder)!r} has no class folders: create one per class.")
    return tuple(names)


def list_images(folder: Path, classes: Sequence[str]) -> tuple[FileList, list[int]]:
    """List the image files in class folders and their subfolders.

    Args:
        folder: Folder that contains the class folders.
        classes: Names of the class folders.

    Returns:
        The files, class by class and sorted within each class, and their classes, counted from 0.

    Raises:
        DataError: A class has no images, or a folder cannot be read.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(_images(folder, name))
        if not found:
            raise DataError(
                f"The class folder {str(folder / name)!r} contains no images "
                f"({', '.join(IMG_EXTENSIONS)}): add some or remove the folder."
            )
        names += found
        labels += [label] * len(found)
    return FileList(folder, names), labels


def _images(folder: Path, name: str) -> Iterator[str]:
    """Yield the images of one class as paths relative to `folder`.

    Subfolders are included, since Tiny ImageNet has its files in <class>/images. Files are
    recognised by name only, because a million `stat` calls take minutes on a shared disk.
    """
    for path, _, files in os.walk(folder / name, onerror=_refuse):
        below = Path(path).relative_to(folder).as_posix()
        for file in files:
            # hidden files, such as those of macOS in archives, are not images despite their suffix
            if file.lower().endswith(IMG_EXTENSIONS) and not file.startswith("."):
                yield f"{below}/{file}"


def _refuse(error: OSError) -> None:
    raise DataError(f"The folder {error.filename!r} cannot be read: {error.strerror}.") from error
