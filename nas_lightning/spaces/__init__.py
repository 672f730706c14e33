"""Search spaces."""

from nas_lightning.errors import UsageError
from nas_lightning.spaces.darts import (
    DARTS_PRIMITIVES,
    INDIVIDUAL,
    cell_kinds,
    darts_space,
    individual_layers,
    individual_space,
    layer_kinds,
)
from nas_lightning.spaces.nas_bench_201 import NAS_BENCH_201_PRIMITIVES, nas_bench_201_space
from nas_lightning.spaces.reconstruction import (
    RECONSTRUCTION_NAME,
    RECONSTRUCTION_PRIMITIVES,
    reconstruction_space,
)
from nas_lightning.spaces.recurrent import RECURRENT_NAME, RECURRENT_PRIMITIVES, recurrent_space
from nas_lightning.spaces.types import Cell, Edge, SearchSpace

SPACES = {
    "darts": darts_space(),
    RECURRENT_NAME: recurrent_space(),
    "nas_bench_201": nas_bench_201_space(),
    RECONSTRUCTION_NAME: reconstruction_space(),
}
"""Search spaces by name."""


def get_space(name: str) -> SearchSpace:
    """The search space of that name.

    Raises:
        UsageError: There is none.
    """
    if name in SPACES:
        return SPACES[name]
    if (layers := individual_layers(name)) is not None:
        return individual_space(layers)
    known = ", ".join((*SPACES, f"{INDIVIDUAL}LAYERS"))
    raise UsageError(f"unknown search space {name!r}; known: {known}")


__all__ = [
    "DARTS_PRIMITIVES",
    "NAS_BENCH_201_PRIMITIVES",
    "RECONSTRUCTION_NAME",
    "RECONSTRUCTION_PRIMITIVES",
    "RECURRENT_NAME",
    "RECURRENT_PRIMITIVES",
    "SPACES",
    "Cell",
    "Edge",
    "SearchSpace",
    "cell_kinds",
    "darts_space",
    "get_space",
    "individual_layers",
    "individual_space",
    "layer_kinds",
    "nas_bench_201_space",
    "reconstruction_space",
    "recurrent_space",
]
