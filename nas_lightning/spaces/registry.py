"""The registry of search spaces: a family joins a space with its supernet and its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import torch

from nas_lightning.architecture import Genotype, NetworkFactory, SearchSpace
from nas_lightning.architecture.counting import cell_prices
from nas_lightning.architecture.prices import Prices
from nas_lightning.architecture.resources import Resource
from nas_lightning.architecture.space_files import named_space
from nas_lightning.errors import GenotypeError, UsageError
from nas_lightning.imports import import_object
from nas_lightning.supernet import SupernetFactory
from nas_lightning.text import reason

IMAGES: Mapping[str, Any] = {"in_channels": 3, "num_classes": 10, "image_size": 32}
"""Sizes of CIFAR-10."""


class SpaceFamily:
    """A search space, its supernet, and the network of its genotypes.

    Subclass it, set the first three attributes and decorate it with `register_space`. The other
    attributes serve `nas info`, `nas draw` and published cells.

    Attributes:
        spaces: Classes of the spaces.
        supernet: Factory of the supernet.
        network: Factory of the network of a genotype, used if a retraining names none.
        sizes: Options of `nas info` (`channels`, `layers`) → arguments of both factories. The
            constructors of the factories define the defaults.
        data: Default `data_spec`; that of CIFAR-10 unless set.
        data_sizes: Options of `nas info` (`classes`, `image_size`) → entries of `data`.
        variants: Suffixes of names in the result → further entries of `data`, for a space whose
            cost depends on the kind of data.
        imagenet: Arguments of `network` and `supernet`, and entries of `data`, for the option
            `--imagenet`; `None` if the space has no ImageNet networks.
        shown: Further arguments of the network that `nas info` prints.
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
        """Return the arguments of the supernet that depend on the space."""
        return {}

    @classmethod
    def network_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return the arguments of the network that depend on the space."""
        return {}

    @classmethod
    def describe(cls, genotype: Genotype) -> dict[str, Any]:
        """Return further names of a genotype, for `nas info`."""
        return {}

    @classmethod
    def inputs(cls, data_spec: Mapping[str, Any]) -> Any:
        """Return the input of a network for one sample, on the device `meta`; images by default.

        Returns:
            The input, or `None` if the data does not say its size.
        """
        size = data_spec.get("image_size")
        if not isinstance(size, int) or "in_channels" not in data_spec:
            return None
        return torch.empty(1, data_spec["in_channels"], size, size, device="meta")

    @classmethod
    def prices(
        cls,
        space: SearchSpace,
        network: NetworkFactory,
        data_spec: Mapping[str, Any],
        resource: Resource,
    ) -> Prices:
        """Return the cost of every network of the space, for budgets.

        Args:
            space: A space of this family.
            network: Factory of the network.
            data_spec: Sizes of the data.
            resource: The resource that is counted.

        Raises:
            UsageError: The resource cannot be counted in this space.
        """
        return cell_prices(space, network, data_spec, resource, cls.inputs(data_spec))

    @classmethod
    def data_of(cls, genotype: Genotype) -> Mapping[str, Any]:
        """Return the default `data_spec` of a genotype's network, for `nas info`."""
        return cls.data

    @classmethod
    def read_text(cls, text: str) -> Genotype | None:
        """Read a genotype from a text form of the space; return `None` for any other text."""
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
    """Return the factory of the network that a retraining in a space uses by default."""
    family = family_of(space)
    return family.network(**family.network_arguments(space))


def get_space(name: str) -> SearchSpace:
    """Build a search space with its default arguments.

    Args:
        name: Name of a shipped space, such as `darts` or `darts_individual_8`, or the import path
            of a subclass of `SearchSpace`.

    Raises:
        UsageError: No space has this name or import path.
    """
    if "." not in name:
        try:
            return named_space(name)
        except GenotypeError as error:
            raise UsageError(error.reason) from error
    found = import_object(name)
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        raise UsageError(f"{name} is not a search space")
    try:
        space: SearchSpace = found()  # type: ignore[call-arg] # a subclass has its own arguments
    except TypeError as error:
        raise UsageError(
            f"the space {name} has no default arguments ({reason(error)}): name a genotype of it"
        ) from error
    return space
