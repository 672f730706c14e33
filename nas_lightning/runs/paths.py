"""Paths in a configuration: `~` is the home folder, and a text that is no path is refused."""

from __future__ import annotations

import re
from typing import Any

from jsonargparse import Namespace

from nas_lightning.errors import UsageError
from nas_lightning.text_files import user_path

PATH_KEY = re.compile(r"(.*_)?(root|path|paths|dir|dirs|file|files|folder)|dirpath|filename")
"""Names of keys whose values are paths, also in a user's own classes."""
OTHERS = ("class_path",)
"""Keys of such names whose values are no paths."""


def expand_paths(config: Namespace) -> None:
    """Replace `~` by the home folder in the texts of a configuration that begin with it, in place.

    Args:
        config: The configuration of a run.

    Raises:
        UsageError: A path is empty, holds a control character or names an unknown user, or
            another text holds a NUL character.
    """
    if config.run_dir is None:
        raise UsageError("run_dir: the path is empty")
    _expanded(config, "")


def _expanded(value: Any, key: str) -> Any:
    """Return a value of the configuration, with its paths expanded."""
    if isinstance(value, Namespace | dict):
        for name in list(vars(value) if isinstance(value, Namespace) else value):
            value[name] = _expanded(value[name], f"{key}.{name}" if key else str(name))
        return value
    if isinstance(value, list):
        return [_expanded(item, key) for item in value]
    if not isinstance(value, str):
        return value
    name, shown = key.rpartition(".")[2], key.replace(".init_args", "")
    is_path = PATH_KEY.fullmatch(name) is not None and name not in OTHERS
    if is_path or value.startswith("~/"):
        path = user_path(value, shown)
        return str(path) if value.startswith("~") else value
    if "\0" in value:
        raise UsageError(f"{shown}: the text holds a NUL character")
    return value
