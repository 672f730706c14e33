"""`nas info`: what networks cost."""

from dataclasses import asdict, dataclass

from nas_lightning.genotype import load_genotype
from nas_lightning.retrain import DartsNetwork, count_parameters, network_cost
from nas_lightning.spaces import get_space
from nas_lightning.spaces.macro import StemName
from nas_lightning.supernet import DartsSupernet


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network, as in `CellNetwork`."""

    channels: int
    layers: int
    classes: int
    stem: StemName
    image_size: int


def genotype_cost(source: str, space: str, sizes: Sizes) -> dict[str, int | None]:
    """Cost of a genotype's network, see `Cost`."""
    genotype = load_genotype(source, get_space(space))
    spec = {"in_channels": 3, "num_classes": sizes.classes, "image_size": sizes.image_size}
    factory = DartsNetwork(sizes.channels, sizes.layers, sizes.stem)
    return asdict(network_cost(factory, genotype, spec))


def supernet_cost(space: str, sizes: Sizes, k: int) -> dict[str, int | None]:
    """Weights of the supernet of a space, without α and β."""
    get_space(space)
    spec = {"in_channels": 3, "num_classes": sizes.classes, "image_size": sizes.image_size}
    factory = DartsSupernet(sizes.channels, sizes.layers, sizes.stem)
    return {"k": k, "parameters": count_parameters(factory.build(spec, k))}
