"""Import paths of classes and functions, as files name them."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
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
        found = importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"cannot import {path}: {_reason(module, error)}") from error
    if hasattr(found, name):
        return getattr(found, name)
    near = difflib.get_close_matches(name, vars(found), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    where = getattr(found, "__file__", None) or "a folder"
    raise UsageError(
        f"cannot import {path}: module {module!r} has no attribute {name!r} ({where}){hint}"
    )


def _reason(module: str, error: Exception) -> str:
    """Return why a module cannot be imported, and what to do."""
    text = " ".join(str(error).split()) or "it gives no reason"
    if isinstance(error, ModuleNotFoundError):
        wanted = error.name or ""
        if wanted == module or module.startswith(f"{wanted}."):
            return f"{text}: install its package, or set PYTHONPATH to the folder that holds it"
        return f"{text}, which {module} needs: install it"
    if isinstance(error, SyntaxError):
        return f"{text}: mend the file"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"it fails while it is imported: {text}{place}"


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
