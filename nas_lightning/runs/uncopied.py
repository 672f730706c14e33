"""A command that copies of what it built still refer to."""

from __future__ import annotations

from typing import Any, Self


class Uncopied:
    """Is shared by copies and left out of pickles.

    A module that jsonargparse builds refers to the command by its optimizers, and averaging
    callbacks copy the module.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return this object."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle `None` in its place."""
        return type(None), ()
