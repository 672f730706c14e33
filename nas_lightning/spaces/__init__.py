"""Search spaces."""

from nas_lightning.errors import UsageError
from nas_lightning.spaces.darts import DARTS_PRIMITIVES, darts_space
from nas_lightning.spaces.types import Cell, Edge, SearchSpace

SPACES = {"darts": darts_space()}
"""Search spaces by name."""


def get_space(name: str) -> SearchSpace:
    """The search space of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in SPACES:
        raise UsageError(f"unknown search space {name!r}; known: {', '.join(SPACES)}")
    return SPACES[name]


__all__ = ["DARTS_PRIMITIVES", "SPACES", "Cell", "Edge", "SearchSpace", "darts_space", "get_space"]
