"""Import paths of classes and functions, as files name them."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from nas_lightning.errors import UsageError


def import_object(path: str) -> Any:
    """Import an object by its dotted path.

    Args:
        path: Module and name, such as `my_ops.SEConv`.

    Raises:
        UsageError: It cannot be imported; says why, in one line.
    """
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        raise UsageError(f"{path!r:.60} is not an import path such as package.module.Name")
    if not module:
        raise UsageError(f"cannot import {path}: write its module, too, such as my_ops.{path}")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"cannot import {path} ({reason}): install its package, or set PYTHONPATH to the "
            f"folder that holds it"
        ) from error


def public_path(found: Any) -> str:
    """Return the shortest import path of a class or function: that of a package that exports it.

    Args:
        found: A class or function at the top level of a module.
    """
    parts = found.__module__.split(".")
    modules = (".".join(parts[: i + 1]) for i in range(len(parts)))
    name = found.__qualname__
    exporting = (m for m in modules if vars(sys.modules[m]).get(name) is found)
    return f"{next(exporting, found.__module__)}.{name}"
