"""The text of a slot's value in the description of a plan."""

from __future__ import annotations

import functools

from nas_lightning.hparams import target
from nas_lightning.supernet import CellExecution


def shown_value(value: object) -> str:
    """Return the text of a number, or the name of a function, a class or an object's class."""
    if value is None:
        return "default"
    if isinstance(value, functools.partial):
        value = target(value)
    if isinstance(value, int | str | CellExecution):
        return str(value)
    return str(getattr(value, "__name__", type(value).__name__))
