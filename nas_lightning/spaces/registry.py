"""Search spaces by name."""

from nas_lightning.architecture.space import SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.spaces.darts.space import (
    INDIVIDUAL,
    darts_space,
    individual_layers,
    individual_space,
)
from nas_lightning.spaces.nas_bench_201.space import nas_bench_201_space
from nas_lightning.spaces.reconstruction.space import RECONSTRUCTION_NAME, reconstruction_space
from nas_lightning.spaces.recurrent.space import RECURRENT_NAME, recurrent_space

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
