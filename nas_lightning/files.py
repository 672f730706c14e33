"""Atomic file writes: a crash leaves either the previous file or the complete new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace `path` by a temporary file once all of that file is on the disk.

    A missing folder is created. If writing fails, the temporary file is removed.

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
    except BaseException:
        temporary.unlink(missing_ok=True)
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
