"""User-defined operations, registered by a decorator or named by import path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas_lightning.errors import UsageError
from nas_lightning.imports import import_object, public_path
from nas_lightning.layers.primitives import PRIMITIVES, NormRule

OperationBuilder = Callable[[int, int, bool], nn.Module]
"""Builds an operation from (channels, stride, affine)."""

F = TypeVar("F", bound=OperationBuilder)


@dataclass(frozen=True)
class _Own:
    build: OperationBuilder
    source: str
    """Import path of the builder."""


_OWN: dict[str, _Own] = {}


def register_primitive(name: str) -> Callable[[F], F]:
    """Register a class or function as a candidate operation, as a decorator.

    It is called as `build(channels, stride, affine)` and returns a module that maps
    (B, channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride)). With `affine`, its
    batch norms learn scale and shift: False in a search, True in retraining. Running statistics
    of its batch norms are switched off if the supernet keeps none.

    A configuration names the operation by import path, such as `my_ops.SEConv`, or by the
    registered name if its module has been imported. Genotypes and pictures show the name.

    Args:
        name: Name of the operation, of letters, digits and underscores.

    Raises:
        UsageError: The name is malformed or belongs to another operation.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise UsageError(f"register_primitive: {name!r} is not a name: use letters, digits and _")

    def register(build: F) -> F:
        _add(name, build)
        return build

    return register


def _add(name: str, build: OperationBuilder) -> None:
    source = public_path(build)
    if name in PRIMITIVES or (name in _OWN and _OWN[name].source != source):
        owner = "a shipped operation" if name in PRIMITIVES else _OWN[name].source
        raise UsageError(f"register_primitive: {name!r} already belongs to {owner}")
    _OWN[name] = _Own(build, source)


def primitive_names(primitives: Sequence[str]) -> tuple[str, ...]:
    """Return the names of candidate operations, after importing those given by import path.

    Args:
        primitives: Names of shipped or registered operations, and import paths.

    Raises:
        UsageError: An operation is unknown, repeated or cannot be imported, or there are fewer
            than two.
    """
    names = tuple(_name(primitive) for primitive in primitives)
    if len(set(names)) != len(names) or len(names) < 2:
        raise UsageError(
            f"primitives: list at least 2, each once; choose from {', '.join(known_primitives())}"
        )
    return names


def primitive_sources(names: Sequence[str]) -> list[str]:
    """Return operations as files record them: shipped ones by name, others by import path."""
    return [_OWN[name].source if name in _OWN else name for name in names]


def known_primitives() -> list[str]:
    """Return the names of all shipped and registered operations."""
    return [*PRIMITIVES, *_OWN]


def build_primitive(name: str, channels: int, stride: int, norm: NormRule) -> nn.Module:
    """Build a candidate operation.

    Args:
        name: One of `known_primitives`.
        channels: Channels in and out.
        stride: 1, or 2 on edges that halve the image.
        norm: Batch norm rule.

    Raises:
        UsageError: A user-defined operation cannot be built.
    """
    if name in PRIMITIVES:
        return PRIMITIVES[name](channels, stride, norm)
    try:
        op = _OWN[name].build(channels, stride, norm.affine)
    except TypeError as error:
        raise UsageError(
            f"{_OWN[name].source}(channels, stride, affine) failed: {error}"
        ) from error
    if not isinstance(op, nn.Module):
        raise UsageError(f"{_OWN[name].source} must return a module, found {type(op).__name__}")
    return OwnOperation(op, name, channels, stride, norm)


def use_batch_statistics(network: nn.Module) -> None:
    """Let every batch norm use the statistics of each batch, and keep no running ones."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None


class OwnOperation(nn.Module):
    """A user-defined operation on an edge, which checks the shape of its output.

    The fast cell runs it unchanged, edge by edge.

    Args:
        op: The operation.
        name: Name of the operation, for messages.
        channels: Channels in and out.
        stride: Stride of the operation.
        norm: Batch norm rule. Without running statistics, the operation's batch norms use the
            statistics of each batch.
    """

    def __init__(
        self, op: nn.Module, name: str, channels: int, stride: int, norm: NormRule
    ) -> None:
        super().__init__()
        self.op, self.name, self.channels, self.stride = op, name, channels, stride
        if not norm.running_stats:
            use_batch_statistics(op)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ceil(H / stride), ceil(W / stride)) for x (B, C, H, W).

        Raises:
            UsageError: The operation returns another shape.
        """
        out: Tensor = self.op(x)
        sides = [-(-side // self.stride) for side in x.shape[2:]]
        if [*out.shape] != [x.shape[0], self.channels, *sides]:
            raise UsageError(
                f"the operation {self.name} with {self.channels} channels and stride {self.stride} "
                f"must map {[*x.shape]} to {[x.shape[0], self.channels, *sides]}, found "
                f"{[*out.shape]}"
            )
        return out


def _name(primitive: str) -> str:
    if primitive in PRIMITIVES or primitive in _OWN:
        return primitive
    if "." not in primitive:
        known = known_primitives()
        close = difflib.get_close_matches(primitive, known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(
            f"primitives: unknown {primitive}; {hint}choose from {', '.join(known)}, or give the "
            f"import path of your own operation"
        )
    found = import_object(primitive)
    for name, own in _OWN.items():
        if own.build is found:
            return name
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(
            f"primitives: {primitive} is not a module: give a subclass of torch.nn.Module, or a "
            f"function decorated with register_primitive"
        )
    _OWN[primitive] = _Own(found, primitive)
    return primitive
