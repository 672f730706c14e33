"""Text and JSON files that came from elsewhere, and the paths that name them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from nas_lightning.errors import NASError, UsageError
from nas_lightning.files import open_ordinary
from nas_lightning.text import path_problem, shown

LARGEST = 2**26
"""Bytes of a text file that is read whole, 64 MiB."""


def user_path(text: str, what: str) -> Path:
    """Return the path that a user means: `~` is the home folder.

    Args:
        text: The path as it was given.
        what: The option or key that it belongs to, for the message.

    Raises:
        UsageError: It is empty, holds a control character, or names an unknown user.
    """
    if problem := path_problem(text):
        raise UsageError(f"{what}: the path {problem}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{what}: there is no home folder for {shown(text)}") from error


def read_text(path: Path | str, largest: int = LARGEST, error: type[NASError] = NASError) -> str:
    """Read a text file: UTF-8, or UTF-16 with a byte order mark. The mark is removed.

    Args:
        path: The file.
        largest: The largest size in bytes.
        error: The class of the error for a file that is not text.

    Raises:
        NASError: It cannot be read, is not an ordinary file, is too large, or is not text.
    """
    content = _read(Path(path), largest, error)
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16"}
    marks[codecs.BOM_UTF16_BE] = "utf-16"
    coding = next((name for mark, name in marks.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise error(f"cannot read {path}: it is not text in UTF-8 (line {line})") from wrong
    if "\0" in text:
        raise error(f"cannot read {path}: it is not text (it holds a NUL character)")
    return text.replace("\r\n", "\n")


def _read(path: Path, largest: int, error: type[NASError]) -> bytes:
    """Return the bytes of an ordinary file."""
    try:
        with open_ordinary(path) as file:
            content = file.read(largest + 1)
    except OSError as wrong:
        folder = path.is_dir()
        reason = "it is a folder, not a file" if folder else wrong.strerror
        raise error(f"cannot read {path}: {reason}") from wrong
    except ValueError as wrong:  # a NUL character in the path
        raise error(f"cannot read {shown(str(path))}: it is not a path") from wrong
    if len(content) > largest:
        raise error(f"cannot read {path}: it is larger than {largest / 2**20:.0f} MiB")
    return content


def read_json(path: Path | str, error: type[NASError] = NASError) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        error: The class of the error for a file that is not JSON.

    Raises:
        NASError: It cannot be read, or is not JSON. The error names the line.
    """
    text = read_text(path, error=error)
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as wrong:
        reason = wrong.msg[:1].lower() + wrong.msg[1:]
        where = f"{path}, line {wrong.lineno}, column {wrong.colno}"
        raise error(f"{where}: not valid JSON: {reason}") from wrong
    except RecursionError as wrong:
        raise error(f"{path}: not valid JSON: it is nested too deeply") from wrong
    except _TwiceError as wrong:
        raise error(f"{path}: not valid JSON: the key {wrong} stands twice") from wrong
    except ValueError as wrong:
        raise error(f"{path}: not valid JSON: a number has too many digits") from wrong


class _TwiceError(Exception):
    """A key stands twice in an object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys differ."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(shown(key))
        found[key] = value
    return found
