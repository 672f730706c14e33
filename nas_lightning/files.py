"""Atomic file writes: a crash leaves either the previous file or the complete new one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace `path` by a temporary file once all of that file is on the disk.

    A missing folder is created. If writing fails, the temporary file is removed, and the error
    names `path`.

    Args:
        path: The file to replace.

    Yields:
        Path of the temporary file, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # a fixed name, so that the next write overwrites what a killed process left
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        inside = (None, str(temporary), temporary)
        if isinstance(error, OSError) and error.errno and error.filename in inside:
            error.filename = str(path)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace a text file (UTF-8) atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_there(path: Path) -> bool:
    """Return True if a file or folder exists.

    `Path.exists` of some releases of Python also returns False if the system cannot tell.

    Raises:
        OSError: The system cannot tell.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def open_ordinary(path: Path) -> BinaryIO:
    """Open an ordinary file for reading; links are followed.

    A pipe would be waited for, and a device may do anything when it is opened.

    Raises:
        OSError: It cannot be opened, or is not an ordinary file.
    """
    _check_ordinary(path.stat(), path)
    # O_NONBLOCK: a pipe that took the file's place in between is not waited for
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _check_ordinary(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _check_ordinary(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))
