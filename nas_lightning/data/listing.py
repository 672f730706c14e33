"""Which image files there are, in one folder per class."""

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

    Python writes to an object whenever it is looked at, to count references, so that loader
    processes would soon have a copy each of a list of paths. ImageNet's 1.28 million take some
    400 megabytes as a list and 40 here, which the loader processes of a process share.

    Args:
        folder: The folder.
        names: Names of the files, relative to the folder.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        """The path of a file."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.folder / os.fsdecode(self._names[index])


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the class folders in a folder, sorted.

    Raises:
        DataError: The folder is missing or has none.
    """
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


def list_images(folder: Path, classes: Sequence[str]) -> tuple[FileList, list[int]]:
    """List the image files in class folders, and below them.

    Args:
        folder: Where the class folders are.
        classes: Their names.

    Returns:
        The files, class by class and sorted in each, and their classes, counted from 0.

    Raises:
        DataError: A class has no images, or a folder cannot be read.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(_images(folder, name))
        if not found:
            raise DataError(
                f"The class folder {str(folder / name)!r} holds no images "
                f"({', '.join(IMG_EXTENSIONS)}): add some or remove the folder."
            )
        names += found
        labels += [label] * len(found)
    return FileList(folder, names), labels


def _images(folder: Path, name: str) -> Iterator[str]:
    """Images of one class, relative to `folder`.

    In subfolders too: Tiny ImageNet keeps its files in <class>/images. No file is asked what it
    is: a million questions take minutes on a shared disk.
    """
    for path, _, files in os.walk(folder / name, onerror=_refuse):
        below = Path(path).relative_to(folder).as_posix()
        for file in files:
            # hidden files, such as those of macOS in archives, only look like images
            if file.lower().endswith(IMG_EXTENSIONS) and not file.startswith("."):
                yield f"{below}/{file}"


def _refuse(error: OSError) -> None:
    raise DataError(f"The folder {error.filename!r} cannot be read: {error.strerror}.") from error
