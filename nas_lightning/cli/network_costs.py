"""Parameters and multiply-adds of networks and supernets, for `nas info`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from nas_lightning.architecture.cost import count_parameters, network_cost
from nas_lightning.errors import UsageError
from nas_lightning.spaces import SpaceFamily, family_of, get_space, load_genotype

Given = Mapping[str, int | None]
"""Options by name (`channels`, `layers`, `classes`, `image_size`); `None` if not given."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network or supernet.

    Attributes:
        shown: Sizes by the name of their option.
        arguments: Arguments of the factory.
        data_specs: Sizes of the data, by suffix of the result's names.
    """

    shown: Mapping[str, int]
    arguments: Mapping[str, Any]
    data_specs: Mapping[str, Mapping[str, Any]]


def genotype_cost(source: str, space: str | None, given: Given, imagenet: bool) -> dict[str, Any]:
    """Return sizes and cost of a genotype's network.

    Raises:
        UsageError: The space does not have a size that is given, or sizes do not fit.
    """
    genotype = load_genotype(source, get_space(space) if space else None)
    family = family_of(genotype.space)
    fixed = family.network_arguments(genotype.space)
    sizes = _sizes(family, "network", fixed, given, imagenet, family.data_of(genotype))
    factory = family.network(**sizes.arguments)
    found = {**family.describe(genotype), **sizes.shown}
    found |= {name: getattr(factory, name) for name in family.shown}
    if set(sizes.data_specs) == {""} and "image_size" in sizes.data_specs[""]:
        return found | asdict(network_cost(factory, genotype, sizes.data_specs[""]))
    return found | _parameters(sizes, lambda spec: factory.build(genotype, spec))


def supernet_cost(name: str, given: Given, imagenet: bool, k: int) -> dict[str, Any]:
    """Return sizes and number of weights of the supernet of a space, without α and β.

    Raises:
        UsageError: The space does not have a size that is given, or sizes do not fit.
    """
    space = get_space(name)
    family = family_of(space)
    fixed = family.supernet_arguments(space)
    sizes = _sizes(family, "supernet", fixed, given, imagenet, family.data)
    factory = family.supernet(**sizes.arguments)
    return {**sizes.shown, "k": k} | _parameters(sizes, lambda spec: factory.build(spec, k))


def _parameters(sizes: Sizes, build: Callable[[Mapping[str, Any]], nn.Module]) -> dict[str, int]:
    """Return the number of parameters for each kind of data; nothing is allocated."""
    with torch.device("meta"):
        built = {suffix: build(spec) for suffix, spec in sizes.data_specs.items()}
    return {f"parameters{suffix}": count_parameters(one) for suffix, one in built.items()}


def _sizes(
    family: type[SpaceFamily],
    what: str,
    fixed: Mapping[str, Any],
    given: Given,
    imagenet: bool,
    data: Mapping[str, Any],
) -> Sizes:
    """Return the sizes given, with the defaults of the constructor and the data for the others.

    Args:
        family: Family of the space.
        what: `network` or `supernet`.
        fixed: Arguments that the space decides.
        given: Options of the command line.
        imagenet: Use the sizes of ImageNet.
        data: Sizes of the data unless they are given.

    Raises:
        UsageError: The space does not have a size that is given.
    """
    wrong = [
        name.replace("_", "-")
        for name, value in given.items()
        if value is not None and name not in {*family.sizes, *family.data_sizes}
    ]
    wrong += ["imagenet"] if imagenet and family.imagenet is None else []
    if wrong:
        raise UsageError(f"--{wrong[0]} means nothing in this search space")
    large = (family.imagenet or {}) if imagenet else {}
    arguments = {**large.get(what, {}), **fixed}
    data = {**data, **large.get("data", {})}
    defaults = inspect.signature(getattr(family, what)).parameters
    shown = {}
    for option, name in family.sizes.items():
        default = arguments.get(name, defaults[name].default)
        shown[option] = arguments[name] = given[option] or default
    for option, name in family.data_sizes.items():
        shown[option] = data[name] = given[option] or data[name]
    data_specs = {suffix: {**data, **more} for suffix, more in family.variants.items()}
    return Sizes(shown, arguments, data_specs)
