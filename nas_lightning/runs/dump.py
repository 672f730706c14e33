"""The resolved configuration as YAML, also with arguments that are no plain data."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import Any

import yaml
from jsonargparse import set_dumper

UNKNOWN = "Unable to serialize instance"
"""Start of the text that jsonargparse writes in place of an object."""
_LEFT_OUT = object()


def dump_plain(config: Any) -> str:
    """Return a configuration as YAML.

    A member of an enumeration becomes its value. Default arguments that are objects, such as a
    device, are left out, since whatever reads the file has the same defaults.
    """
    text: str = yaml.safe_dump(
        _plain(config), default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        items = ((key, _plain(item)) for key, item in value.items())
        return {str(key): item for key, item in items if item is not _LEFT_OUT}
    if isinstance(value, list | tuple | set | frozenset):
        return [item for item in map(_plain, value) if item is not _LEFT_OUT]
    if isinstance(value, str):
        return _LEFT_OUT if value.startswith(UNKNOWN) else str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, numbers.Number) and hasattr(value, "item"):  # of numpy
        return value.item()
    return _LEFT_OUT


def install() -> None:
    """Make jsonargparse write configurations by `dump_plain`."""
    set_dumper("yaml", dump_plain)
    warnings.filterwarnings("ignore", message=rf"\s*{UNKNOWN}")
