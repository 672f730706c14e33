"""Cost of every network that the choices of a network contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from nas_lightning.architecture.prices import Candidate, Charge, Prices, merged
from nas_lightning.architecture.resources import Part, Resource
from nas_lightning.errors import UsageError
from nas_lightning.layers.choice import Choice, choices_of
from nas_lightning.text import reason


def choice_prices(network: nn.Module, resource: Resource, inputs: Any) -> Prices:
    """Return the prices of the networks that a network with choices contains.

    A candidate inside another one is charged only if both are chosen. A choice that is called
    several times is charged for each call, but has its parameters once.

    Args:
        network: The network with choices, on the device `meta`.
        resource: The resource.
        inputs: Input of the network for one sample, on the device `meta`; `None` if unknown.

    Raises:
        UsageError: Candidates share modules, or the resource cannot be counted.
    """
    name = type(network).__name__
    groups = choices_of(network)
    names = {id(choice): key for key, group in groups.items() for choice in group}
    parts = list(_parts(network, names))
    if len({id(part.module) for part in parts}) < len(parts):
        raise UsageError(f"{name} uses one module at two of its choices, so costs do not add up")
    try:
        with ExitStack() as stack:
            for choice in (choice for group in groups.values() for choice in group):
                weights = torch.ones(len(choice.names), device="meta")
                stack.enter_context(choice.mixed(weights))
            costs, fixed = resource.costs(network, parts, inputs)
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        raise UsageError(
            f"the {resource.unit} of {name} cannot be counted: its forward must run on the device "
            f"meta, which holds no values, but: {reason(error)}"
        ) from error
    sizes = {name: len(group[0].names) for name, group in groups.items()}
    charges = []
    for part, cost in zip(parts, costs, strict=True):
        kind, edge, op = part.candidate
        table = torch.zeros(1, sizes[kind], dtype=torch.float64)
        table[edge, op] = cost
        charges.append(Charge(kind, table, part.within))
    return merged(fixed, charges)


def _parts(
    module: nn.Module, names: Mapping[int, str], within: tuple[Candidate, ...] = ()
) -> Iterator[Part]:
    """Yield the candidates of the choices in a module, outer ones before those inside them."""
    if not isinstance(module, Choice):
        for child in module.children():
            yield from _parts(child, names, within)
        return
    kind = names[id(module)]
    for index, (name, candidate) in enumerate(module.candidates.items()):
        here = kind, 0, index
        yield Part(here, f"{kind}.{name}", candidate, within)
        yield from _parts(candidate, names, (*within, here))
