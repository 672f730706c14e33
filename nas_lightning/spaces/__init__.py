"""Search spaces, each with its supernet, its network and its registry entry."""

from nas_lightning.layers.own import register_primitive
from nas_lightning.moved import missing
from nas_lightning.spaces.choice import (
    Choice,
    ChoiceNetwork,
    ChoiceSpace,
    ChoiceSupernet,
    FrozenNetwork,
    MixedNetwork,
    freeze,
)
from nas_lightning.spaces.darts import (
    DARTS_PRIMITIVES,
    CellNetwork,
    CellSupernet,
    DartsNetwork,
    DartsSpace,
    DartsSupernet,
    DiscreteCell,
    IndividualDartsSpace,
    SearchCell,
    cell_kinds,
    layer_kinds,
)
from nas_lightning.spaces.genotypes import PUBLISHED, load_genotype
from nas_lightning.spaces.mobile import MOBILE_CANDIDATES, MobileNetwork, MobileSpace
from nas_lightning.spaces.nas_bench_201 import (
    NAS_BENCH_201_PRIMITIVES,
    NasBench201Network,
    NasBench201Space,
    NasBench201Supernet,
    PlainCell,
    PlainNetwork,
    PlainSearchCell,
    PlainSupernet,
    Skeleton,
    from_string,
    to_string,
)
from nas_lightning.spaces.nas_bench_macro import (
    NAS_BENCH_MACRO_CANDIDATES,
    NasBenchMacroNetwork,
    NasBenchMacroSpace,
    from_digits,
    to_digits,
)
from nas_lightning.spaces.reconstruction import (
    RECONSTRUCTION_PRIMITIVES,
    DiscreteReconstruction,
    MixedReconstruction,
    ReconstructionNetwork,
    ReconstructionSpace,
    ReconstructionSupernet,
)
from nas_lightning.spaces.recurrent import (
    RECURRENT_PRIMITIVES,
    DiscreteLanguageModel,
    MixedLanguageModel,
    RecurrentNetwork,
    RecurrentSpace,
    RecurrentSupernet,
)
from nas_lightning.spaces.registry import (
    SpaceFamily,
    default_network,
    families,
    family_of,
    get_space,
    register_space,
)

__all__ = [
    "DARTS_PRIMITIVES",
    "MOBILE_CANDIDATES",
    "NAS_BENCH_201_PRIMITIVES",
    "NAS_BENCH_MACRO_CANDIDATES",
    "PUBLISHED",
    "RECONSTRUCTION_PRIMITIVES",
    "RECURRENT_PRIMITIVES",
    "CellNetwork",
    "CellSupernet",
    "Choice",
    "ChoiceNetwork",
    "ChoiceSpace",
    "ChoiceSupernet",
    "DartsNetwork",
    "DartsSpace",
    "DartsSupernet",
    "DiscreteCell",
    "DiscreteLanguageModel",
    "DiscreteReconstruction",
    "FrozenNetwork",
    "IndividualDartsSpace",
    "MixedLanguageModel",
    "MixedNetwork",
    "MixedReconstruction",
    "MobileNetwork",
    "MobileSpace",
    "NasBench201Network",
    "NasBench201Space",
    "NasBench201Supernet",
    "NasBenchMacroNetwork",
    "NasBenchMacroSpace",
    "PlainCell",
    "PlainNetwork",
    "PlainSearchCell",
    "PlainSupernet",
    "ReconstructionNetwork",
    "ReconstructionSpace",
    "ReconstructionSupernet",
    "RecurrentNetwork",
    "RecurrentSpace",
    "RecurrentSupernet",
    "SearchCell",
    "Skeleton",
    "SpaceFamily",
    "cell_kinds",
    "default_network",
    "families",
    "family_of",
    "freeze",
    "from_digits",
    "from_string",
    "get_space",
    "layer_kinds",
    "load_genotype",
    "register_primitive",
    "register_space",
    "to_digits",
    "to_string",
]


def __getattr__(name: str) -> object:
    """Return a name that an earlier release exported here."""
    return missing(__name__, name)
