"""Listing of image files in one folder per class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets.folder import IMG_EXTENSIONS

from nas_lightning.data.classes import printable
from nas_lightning.data.file_list import FileList
from nas_lightning.errors import DataError

_SHOWN = 3  # names in a message
_KINDS = 4  # suffixes in a message


@dataclass
class Ignored:
    """Files and folders that were not listed, by the reason.

    Attributes:
        hidden: Number of files and folders whose names start with a dot.
        other: Number of files that are no images by their names, by suffix.
        outside: Number of images beside the class folders.
        repeated: Number of links to folders that were listed already, or that contain them.
    """

    hidden: int = 0
    other: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        """Return the numbers that are not 0, in words."""
        most = sorted(self.other.items(), key=lambda item: (-item[1], item[0]))[:_KINDS]
        kinds = ", ".join(
            f"{printable(kind) or 'without suffix'} {number:,}" for kind, number in most
        )
        parts = (
            (self.hidden, "hidden"),
            (self.other.total(), f"not images ({kinds})"),
            (self.outside, "images outside the class folders"),
            (self.repeated, "links to folders that were listed already"),
        )
        return ", ".join(f"{number:,} {text}" for number, text in parts if number)


class Listed(NamedTuple):
    """Image files of classes.

    Attributes:
        files: The files, class by class and sorted within each class.
        labels: Their classes, counted from 0.
        ignored: What was not listed.
    """

    files: FileList
    labels: list[int]
    ignored: Ignored


def class_folders(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders in a folder; none if there are none.

    Hidden folders, which notebooks and file managers create, are not classes.

    Raises:
        DataError: The folder is missing or cannot be read.
    """
    if not folder.is_dir():
        raise DataError(
            f"The folder {str(folder)!r} was not found: set --data.root to a folder that contains "
            "'train' and 'test' or 'val', each with one folder per class."
        )
    with _scan(str(folder)) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def training_classes(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the class folders of a training set.

    Raises:
        DataError: The folder is missing, or has fewer than two class folders. The message names
            the likely cause.
    """
    names = class_folders(folder)
    if len(names) > 1:
        return names
    if not names:
        raise DataError(
            f"The folder {str(folder)!r} has no class folders: create one per class, and move its "
            "images there."
        )
    inner = class_folders(folder / names[0])
    if len(inner) > 1:
        shown = ", ".join(map(repr, inner[:_SHOWN])) + (" and more" if len(inner) > _SHOWN else "")
        raise DataError(
            f"The folder {str(folder)!r} has only one class folder, {names[0]!r}, which contains "
            f"the folders {shown}: if these are the classes, move them up into {str(folder)!r}."
        )
    raise DataError(
        f"The folder {str(folder)!r} has only one class folder, {names[0]!r}, but there is nothing "
        "to learn from a single class: create one folder per class."
    )


def list_images(folder: Path, classes: Sequence[str]) -> Listed:
    """List the image files in class folders and their subfolders; links are followed.

    Args:
        folder: Folder that contains the class folders.
        classes: Names of the class folders. A missing one has no images.

    Raises:
        DataError: A folder cannot be read, or belongs to two classes.
    """
    walk = _Walk(folder)
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(walk.images(name)) if (folder / name).is_dir() else []
        names += found
        labels += [label] * len(found)
    walk.look_beside(classes)
    return Listed(FileList(folder, names), labels, walk.ignored)


def list_all_images(folder: Path) -> Listed:
    """List all image files in a folder and its subfolders, with class 0.

    They are sorted as `list_images` sorts those in class folders.

    Raises:
        DataError: The folder cannot be read.
    """
    walk = _Walk(folder)
    names = sorted(walk.images("."), key=lambda name: name.partition("/"))
    return Listed(FileList(folder, names), [0] * len(names), walk.ignored)


class _Walk:
    """A walk through class folders that enters each folder once.

    Subfolders are included, since Tiny ImageNet has its files in <class>/images. Files are
    recognised by name only, because a million `stat` calls take minutes on a shared disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ignored = Ignored()
        self._seen: dict[tuple[int, int], str] = {}  # device and number of each folder: its class
        real = folder.resolve()
        self._above = {_identity(str(path)) for path in (real, *real.parents)}

    def images(self, name: str) -> Iterator[str]:
        """Yield the images of one class as paths relative to the common folder."""
        waiting = [name]
        while waiting:
            below = waiting.pop()
            path = f"{self.folder}/{below}"
            if below != "." and not self._enter(path, name):
                continue
            folders = []
            with _scan(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        self.ignored.hidden += 1
                    elif _is_folder(entry):
                        folders.append(entry.name)
                    elif entry.name.lower().endswith(IMG_EXTENSIONS):
                        yield entry.name if below == "." else f"{below}/{entry.name}"
                    else:
                        self.ignored.other[Path(entry.name).suffix.lower()] += 1
            # in order, so that of two links to a folder always the same is followed
            waiting += [
                inner if below == "." else f"{below}/{inner}" for inner in sorted(folders)[::-1]
            ]

    def look_beside(self, classes: Sequence[str]) -> None:
        """Count the files beside the class folders."""
        with _scan(str(self.folder)) as entries:
            for entry in entries:
                if entry.name in classes:
                    continue
                if entry.name.startswith("."):
                    self.ignored.hidden += 1
                elif entry.name.lower().endswith(IMG_EXTENSIONS):
                    self.ignored.outside += 1
                elif not _is_folder(entry):
                    self.ignored.other[Path(entry.name).suffix.lower()] += 1

    def _enter(self, path: str, name: str) -> bool:
        """Return True if a folder was not entered before.

        Raises:
            DataError: It belongs to another class, too.
        """
        number = _identity(path)
        if number not in self._above and number not in self._seen:
            self._seen[number] = name
            return True
        if (other := self._seen.get(number, name)) != name:
            raise DataError(
                f"The folder {path!r} belongs to two classes, {other!r} and {name!r}: remove one "
                "of the links to it."
            )
        self.ignored.repeated += 1
        return False


def _identity(path: str) -> tuple[int, int]:
    """Return device and number of a folder, which all links to it share."""
    try:
        found = os.stat(path)  # noqa: PTH116 (a Path for every folder is slow)
    except OSError as error:
        raise _refusal(path, error) from error
    return found.st_dev, found.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return True for folders and links to them."""
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


@contextmanager
def _scan(path: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """Open a folder for listing; raise DataError if it cannot be read."""
    try:
        with os.scandir(path) as entries:
            yield entries
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: str, error: OSError) -> DataError:
    return DataError(f"The folder {path!r} cannot be read: {error.strerror}.")
