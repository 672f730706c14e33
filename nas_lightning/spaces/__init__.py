"""Search spaces, each with its supernet and the network of its genotypes."""

from nas_lightning.moved import missing
from nas_lightning.spaces.darts import (
    DARTS_PRIMITIVES,
    INDIVIDUAL,
    CellNetwork,
    CellSupernet,
    DartsNetwork,
    DartsSupernet,
    DiscreteCell,
    SearchCell,
    cell_kinds,
    darts_space,
    individual_layers,
    individual_space,
    layer_kinds,
)
from nas_lightning.spaces.nas_bench_201 import (
    NAS_BENCH_201_PRIMITIVES,
    NasBench201Network,
    NasBench201Supernet,
    PlainSearchCell,
    PlainSupernet,
    from_string,
    nas_bench_201_space,
    to_string,
)
from nas_lightning.spaces.published import PUBLISHED, load_genotype
from nas_lightning.spaces.reconstruction import (
    RECONSTRUCTION_NAME,
    RECONSTRUCTION_PRIMITIVES,
    DiscreteReconstruction,
    MixedReconstruction,
    ReconstructionNetwork,
    ReconstructionSupernet,
    reconstruction_space,
)
from nas_lightning.spaces.recurrent import (
    RECURRENT_NAME,
    RECURRENT_PRIMITIVES,
    DiscreteLanguageModel,
    MixedLanguageModel,
    RecurrentNetwork,
    RecurrentSupernet,
    recurrent_space,
)
from nas_lightning.spaces.registry import SPACES, get_space

__all__ = [
    "DARTS_PRIMITIVES",
    "INDIVIDUAL",
    "NAS_BENCH_201_PRIMITIVES",
    "PUBLISHED",
    "RECONSTRUCTION_NAME",
    "RECONSTRUCTION_PRIMITIVES",
    "RECURRENT_NAME",
    "RECURRENT_PRIMITIVES",
    "SPACES",
    "CellNetwork",
    "CellSupernet",
    "DartsNetwork",
    "DartsSupernet",
    "DiscreteCell",
    "DiscreteLanguageModel",
    "DiscreteReconstruction",
    "MixedLanguageModel",
    "MixedReconstruction",
    "NasBench201Network",
    "NasBench201Supernet",
    "PlainSearchCell",
    "PlainSupernet",
    "ReconstructionNetwork",
    "ReconstructionSupernet",
    "RecurrentNetwork",
    "RecurrentSupernet",
    "SearchCell",
    "cell_kinds",
    "darts_space",
    "from_string",
    "get_space",
    "individual_layers",
    "individual_space",
    "layer_kinds",
    "load_genotype",
    "nas_bench_201_space",
    "reconstruction_space",
    "recurrent_space",
    "to_string",
]


def __getattr__(name: str) -> object:
    """What an earlier release exported here."""
    return missing(__name__, name)
