"""The registry of search spaces: one family for each space, with all that is made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from nas_lightning.architecture import Genotype, NetworkFactory, SearchSpace
from nas_lightning.architecture.space_files import named_space
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.imports import import_object
from nas_lightning.supernet import SupernetFactory

IMAGES: Mapping[str, Any] = {"in_channels": 3, "num_classes": 10, "image_size": 32}
"""Sizes of CIFAR-10."""


class SpaceFamily:
    """A search space, its supernet, and the network of its genotypes.

    Subclass it, set the first three attributes and decorate it with `register_space`. The other
    attributes serve `nas info`, `nas draw` and published cells.

    Attributes:
        spaces: Classes of the spaces.
        supernet: Builds the supernet of a search.
        network: Builds the network of a genotype when a retraining names none.
        sizes: Options of `nas info` (`channels`, `layers`) → arguments of both factories. Their
            defaults are those of the constructors.
        data: Default `data_spec`, of CIFAR-10 images unless set.
        data_sizes: Options of `nas info` (`classes`, `image_size`) → entries of `data`.
        variants: Suffixes of the result's names → further entries of `data`, if the cost depends
            on the kind of data.
        imagenet: Arguments of `network`, `supernet` and entries of `data` under the option
            `--imagenet`; `None` if the space has no such networks.
        shown: Further arguments of the network that `nas info` shows.
        published: Published genotypes, by name.
    """

    spaces: ClassVar[tuple[type[SearchSpace], ...]]
    supernet: ClassVar[type[SupernetFactory]]
    network: ClassVar[type[NetworkFactory]]
    sizes: ClassVar[Mapping[str, str]] = {"channels": "channels", "layers": "layers"}
    data: ClassVar[Mapping[str, Any]] = IMAGES
    data_sizes: ClassVar[Mapping[str, str]] = {
        "classes": "num_classes",
        "image_size": "image_size",
    }
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}}
    imagenet: ClassVar[Mapping[str, Mapping[str, Any]] | None] = None
    shown: ClassVar[tuple[str, ...]] = ()
    published: ClassVar[Mapping[str, Genotype]] = {}

    @classmethod
    def supernet_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return arguments of the supernet that the space decides."""
        return {}

    @classmethod
    def network_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return arguments of the network that the space decides."""
        return {}

    @classmethod
    def describe(cls, genotype: Genotype) -> dict[str, Any]:
        """Return other names of a genotype, for `nas info`."""
        return {}

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read a genotype from a text form of the space; `None` if the text has another form."""
        return None


Family = TypeVar("Family", bound=type[SpaceFamily])

_FAMILIES: dict[type[SearchSpace], type[SpaceFamily]] = {}


def register_space(family: Family) -> Family:
    """Register the family of a search space, as a decorator.

    Raises:
        UsageError: An attribute is missing, or a space already has a family.
    """
    for name in ("spaces", "supernet", "network"):
        if not hasattr(family, name):
            raise UsageError(f"register_space: {family.__name__} has no attribute {name}")
    for space in family.spaces:
        before = _FAMILIES.get(space)
        if before is not None and before.__qualname__ != family.__qualname__:
            raise UsageError(
                f"register_space: {space.__name__} already belongs to {before.__name__}"
            )
        _FAMILIES[space] = family
    return family


def family_of(space: SearchSpace) -> type[SpaceFamily]:
    """Return the family of a search space.

    Raises:
        UsageError: No family is registered for it.
    """
    for kind in type(space).__mro__:
        if kind in _FAMILIES:
            return _FAMILIES[kind]
    raise UsageError(
        f"the search space {type(space).__name__} has no family: decorate a subclass of "
        f"SpaceFamily with register_space in the module of the space"
    )


def families() -> Iterator[type[SpaceFamily]]:
    """Yield every registered family once, in the order of registration."""
    yield from dict.fromkeys(_FAMILIES.values())


def default_network(space: SearchSpace) -> NetworkFactory:
    """Return the network that retrains genotypes of a space when none is configured."""
    family = family_of(space)
    return family.network(**family.network_arguments(space))


def get_space(name: str) -> SearchSpace:
    """Build a search space with its default arguments.

    Args:
        name: Name of a shipped space, such as `darts` or `darts_individual_8`, or the import path
            of a space.

    Raises:
        UsageError: There is no such space.
    """
    if "." not in name:
        try:
            return named_space(name)
        except GenotypeError as error:
            raise UsageError(error.reason) from error
    found = import_object(name)
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        raise UsageError(f"{name} is no search space")
    space: SearchSpace = found()  # type: ignore[call-arg] # of a subclass
    return space
