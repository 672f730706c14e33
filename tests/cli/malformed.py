"""Malformed inputs over all verbs and files: pieces from which the table of cases is made."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A command line, the files that it finds, and its exit code.

    Attributes:
        line: The words after `nas`.
        files: Content of files by path; `None` means a folder, and they replace what is there.
        code: The exit code.
        variables: Environment variables.
        says: A part of the message.
    """

    line: tuple[str, ...]
    files: Mapping[str, bytes | None] = MappingProxyType({})
    code: int = 1
    variables: Mapping[str, str] = MappingProxyType({})
    says: str = ""

    @property
    def name(self) -> str:
        """A short name for the test."""
        parts = [" ".join(self.line)[:60], *self.files, *map("=".join, self.variables.items())]
        return " ".join(parts).encode("unicode_escape").decode()[:90]


def changed(document: Any, path: str, value: Any) -> Any:
    """A document with another value at a path such as `starts.0.outcome`; `...` deletes it."""
    found = copy.deepcopy(document)
    *way, last = path.split(".")
    place = found
    for name in way:
        place = place[int(name) if isinstance(place, list) else name]
    key = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return found


def places(document: Any, way: str = "") -> Iterator[str]:
    """The paths of all values in a document; of a list only the first item."""
    items = document.items() if isinstance(document, dict) else list(enumerate(document))[:1]
    for key, value in items:
        here = f"{way}.{key}" if way else str(key)
        yield here
        if isinstance(value, dict | list):
            yield from places(value, here)


def dump(document: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(document).encode()


NO_TEXT: dict[str, bytes | None] = {
    "empty": b"",
    "blank": b" \n",
    "not UTF-8": b"\xff\xfa\x00\x80",
    "NUL": b"\0\0\0",
    "zip": b"PK\x03\x04 cut",
    "half": b'{"format": "nas-ligh',
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "deep": b"[" * 5000,
    "digits": b'{"format": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"format": 1, "format": 2}',
    "a folder": None,
}
"""Contents that no reader of JSON takes."""
