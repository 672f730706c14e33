"""The modules into which a network falls for measuring: candidates, and everything around them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas_lightning.architecture.resources import Part, inside
from nas_lightning.errors import UsageError


class Place(NamedTuple):
    """An operation and the size at which it runs.

    Attributes:
        operation: Name of the candidate, or of the module in the network, such as `stem`.
        channels_in: Channels of the input.
        channels_out: Channels or features of the output.
        stride: Height of the input divided by that of the output; 1 if the output has none.
        size: Height of the input in pixels; 1 if it has none.
    """

    operation: str
    channels_in: int
    channels_out: int
    stride: int
    size: int

    def __str__(self) -> str:
        """Return a text such as `sep_conv_3x3 (16 to 16 channels, stride 1, size 32)`."""
        return (
            f"{self.operation} ({self.channels_in} to {self.channels_out} channels, stride "
            f"{self.stride}, size {self.size})"
        )


class Unit(NamedTuple):
    """A module that is measured as a whole.

    Attributes:
        owner: Index of the innermost part that it belongs to; `None` outside of all.
        module: The module.
        places: Place of each of its calls.
        inputs: For each call, the shapes of its tensors without the batch.
    """

    owner: int | None
    module: nn.Module
    places: tuple[Place, ...]
    inputs: tuple[tuple[torch.Size, ...], ...]


class _Found(NamedTuple):
    """A unit before it has a name that tells it from others."""

    owner: int | None
    name: str
    short: str
    module: nn.Module


def units(network: nn.Module, parts: Sequence[Part], inputs: Any) -> list[Unit]:
    """Return the modules of a network that are measured as a whole.

    They are the candidates without candidates inside, and the outermost modules that hold none.
    What is computed between them, such as sums and concatenations, belongs to no unit.

    Args:
        network: A network with all candidates, on the device `meta`.
        parts: Modules of the candidates.
        inputs: Images for the network, on the device `meta`; `None` if their size is unknown.

    Raises:
        UsageError: The inputs of a module are no images.
    """
    what = type(network).__name__
    if inputs is None:
        raise UsageError(f"the latency of {what} is known for images of a given size only")
    calls: dict[int, list[tuple[list[torch.Size], torch.Size]]] = {}

    def record(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        shapes = [leaf.shape for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outs = [leaf.shape for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not shapes or not outs or {len(shapes[0]), len(outs[0])} - {2, 4}:
            raise UsageError(f"the latency of {what} is known for images only")
        calls.setdefault(id(module), []).append((shapes, outs[0]))

    with ExitStack() as stack, torch.no_grad():
        leaves = [
            part.module for part, inner in zip(parts, inside(parts), strict=True) if not inner
        ]
        hidden = {id(module) for leaf in leaves for module in leaf.modules() if module is not leaf}
        for module in network.modules():
            if module is not network and id(module) not in hidden:
                hook = module.register_forward_hook(record, with_kwargs=True)
                stack.callback(hook.remove)
        network.eval()(inputs)
    found = list(
        _units(network, {id(part.module): i for i, part in enumerate(parts)}, parts, calls)
    )
    # numbers are left out of names, unless different modules would have the same place
    described = {
        (_size(one, call), _described(one)) for one in found for call in calls[id(one.module)]
    }
    many = Counter(place for place, _ in described)
    result = []
    for one in found:
        seen = calls[id(one.module)]
        places = [_size(one, call) for call in seen]
        named = [p._replace(operation=one.name) if many[p] > 1 else p for p in places]
        shapes = tuple(tuple(torch.Size(shape[1:]) for shape in tensors) for tensors, _ in seen)
        result.append(Unit(one.owner, one.module, tuple(named), shapes))
    return result


def _units(
    module: nn.Module,
    places: dict[int, int],
    parts: Sequence[Part],
    calls: dict[int, Any],
    path: str = "",
    owner: int | None = None,
) -> Iterator[_Found]:
    """Yield the units inside a module."""
    index = places.get(id(module))
    owner = owner if index is None else index
    holds = any(id(inner) in places for inner in module.modules() if inner is not module)
    if id(module) in calls and not holds:
        short = re.sub(r"\.\d+(?=\.|$)", "", path) if index is None else parts[index].operation
        yield _Found(owner, path, short, module)
        return
    for name, child in module.named_children():
        yield from _units(child, places, parts, calls, f"{path}.{name}".lstrip("."), owner)


def _size(one: _Found, call: tuple[list[torch.Size], torch.Size]) -> Place:
    (first, *_), out = call
    size, after = (shape[2] if len(shape) == 4 else 1 for shape in (first, out))
    stride = max(1, round(size / after)) if len(out) == 4 else 1
    return Place(one.short, first[1], out[1], stride, size)


def _described(one: _Found) -> tuple[object, ...]:
    sizes = tuple(tuple(parameter.shape) for parameter in one.module.parameters())
    return repr(one.module), sizes
