"""Read plain data from files by type hints, and name the place of what does not fit."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from nas_lightning.errors import ContentError, UsageError
from nas_lightning.text import shown
from nas_lightning.text_files import read_json

T = TypeVar("T")
PLAIN: dict[Any, str] = {
    dict: "an object",
    list: "an array",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
"""JSON's types, and their names in messages."""


def read_file(kind: type[T], path: Path) -> T:
    """Read a JSON file by a type hint; see `read_value`.

    Raises:
        ContentError: The content does not fit; names the file and the place.
        NASError: The file cannot be read or is not JSON.
    """
    return read_content(kind, read_json(path), path)


def read_content(kind: type[T], data: object, path: Path) -> T:
    """Read the content of a file by a type hint; see `read_value`.

    Raises:
        ContentError: It does not fit; names the file and the place.
    """
    try:
        found: T = read_value(kind, data)
    except ContentError as error:
        raise ContentError(error.reason, error.path, str(path)) from error
    return found


def read_value(kind: Any, data: object, path: str = "$") -> Any:
    """Read a value by a type hint.

    Args:
        kind: A dataclass, a `TypedDict`, `int`, `float`, `str`, `bool`, `None`, `Any`, a `Literal`,
            or a list, tuple, mapping or union of these. Keys that a `TypedDict` does not name are
            kept as they are; a dataclass accepts none.
        data: The value, as a JSON reader returns it.
        path: Its JSON path.

    Raises:
        ContentError: It does not fit; names the JSON path.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if kind is None or kind in PLAIN:
        return _plain(type(None) if kind is None else kind, data, path)
    if origin in (types.UnionType, typing.Union):
        return _union(arguments, data, path)
    if origin is Literal:
        if data not in arguments or isinstance(data, bool):
            raise ContentError(f"expected {' or '.join(map(shown, arguments))}, found "
                               f"{shown(data)}", path)  # fmt: skip
        return data
    if origin in (list, tuple, Sequence, Collection):
        items = _plain(list, data, path)
        form = tuple if origin is tuple else list
        return form(read_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    if origin in (dict, Mapping):
        pairs = _plain(dict, data, path).items()
        return {key: read_value(arguments[1], item, f"{path}.{key}") for key, item in pairs}
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, path)
    if typing.is_typeddict(kind):
        return _typed_dict(kind, data, path)
    raise TypeError(f"no reader for {kind}")


def is_readable(kind: Any) -> bool:
    """Return True if `read_value` knows a type hint, with all that it holds."""
    if kind in (Any, None) or kind in PLAIN or get_origin(kind) is Literal:
        return True
    if get_origin(kind) in (types.UnionType, typing.Union, list, tuple, dict,
                            Sequence, Collection, Mapping):  # fmt: skip
        return all(part is Ellipsis or is_readable(part) for part in get_args(kind))
    return dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)


def _plain(kind: type, data: object, path: str) -> Any:
    """Return a value of one of JSON's types. A boolean is no number; a whole number is one."""
    if kind is float and type(data) is int:
        data = float(data) if abs(data) < 10**300 else data
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise ContentError(f"expected {PLAIN[kind]}, found {shown(data)}", path)
    return data


def _union(kinds: tuple[Any, ...], data: object, path: str) -> Any:
    """Read a value by the first type that fits, and report by the last."""
    for kind in kinds[:-1]:
        try:
            return read_value(kind, data, path)
        except ContentError:
            continue
    others = [kind for kind in kinds if kind is not type(None)]
    try:
        return read_value(kinds[-1], data, path)
    except ContentError:
        if len(others) == 1 and data is not None:
            return read_value(others[0], data, path)  # raises, with the place inside
        raise


def _dataclass(kind: Any, data: object, path: str) -> Any:
    given = _plain(dict, data, path)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(given) - set(fields)):
        raise ContentError(f"unknown key {shown(unknown[0])}", path)
    for name, field in fields.items():
        default = (field.default, field.default_factory)
        if name not in given and default == (dataclasses.MISSING, dataclasses.MISSING):
            raise ContentError(f"the key {name!r} is missing", path)
    values = {key: read_value(hints[key], given[key], f"{path}.{key}") for key in given}
    try:
        return kind(**values)
    except UsageError as error:
        raise ContentError(str(error), path) from error


def _typed_dict(kind: Any, data: object, path: str) -> dict[str, Any]:
    given = _plain(dict, data, path)
    hints = typing.get_type_hints(kind)
    for name in kind.__required_keys__:
        if name not in given:
            raise ContentError(f"the key {name!r} is missing", path)
    return {
        key: read_value(hints[key], item, f"{path}.{key}") if key in hints else item
        for key, item in given.items()
    }
