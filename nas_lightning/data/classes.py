"""Checks of class labels, and classes in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_lightning.errors import DataError
from nas_lightning.text import few


def absent_classes(labels: Sequence[int], num_classes: int, where: str) -> list[int]:
    """Return the classes that no label is of.

    Labels that are not whole numbers are left to the check of the first batch.

    Args:
        labels: Class of each sample.
        num_classes: Number of classes.
        where: Name of the samples, for the message.

    Raises:
        DataError: A label is negative or too large.
    """
    found = np.asarray(labels)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        return []
    wrong = np.flatnonzero((found < 0) | (found >= num_classes))
    if wrong.size:
        raise DataError(
            f"Label {found[wrong[0]]} of sample {wrong[0]} in {where} is outside the range: labels "
            f"of {num_classes} classes are 0 to {num_classes - 1}."
        )
    return np.flatnonzero(np.bincount(found, minlength=num_classes) == 0).tolist()


def refuse_absent(absent: Sequence[int], num_classes: int, names: Sequence[str] | None) -> None:
    """Refuse a training set with a single class, or with classes without samples.

    Args:
        absent: The classes without samples.
        num_classes: Number of classes.
        names: Names of all classes, if they have any.

    Raises:
        DataError: It is one.
    """
    if num_classes == 1:
        raise DataError("There is only one class, from which nothing can be learned.")
    if absent:
        raise DataError(
            f"The training set has no sample of {named(absent, names)}: add some, or number the "
            "classes without gaps."
        )


def named(classes: Sequence[int], names: Sequence[str] | None) -> str:
    """Return some classes in words, such as `class cat` or `the classes 3, 4`."""
    texts = [printable(names[c]) if names else str(c) for c in classes]
    return f"{'class' if len(classes) == 1 else 'the classes'} {few(texts)}"


def listed(num_classes: int, names: Sequence[str] | None) -> str:
    """Return the number of classes and the first names, such as `3: cat, dog, emu`."""
    if not names:
        return str(num_classes)
    return f"{num_classes}: {few([printable(name) for name in names])}"


def printable(name: str) -> str:
    """Return a name that may contain anything as text of one line, which a terminal can show."""
    return name if name.isprintable() else repr(name)
