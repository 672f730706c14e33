"""`Choice`: alternatives at one place of any network, and the network without them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.text import few


class Choice(nn.Module):
    """A place of a network that has several candidate modules.

    In a search it computes the weighted sum of the outputs of its candidates, all of the same
    shape. Choices may be nested, and one choice may be called several times in a forward pass.
    `freeze` replaces each choice by the candidate that a genotype names.

    Args:
        candidates: Modules by name, in the order of the columns of α.
        name: Name of the choice; by default its path in the network, with `_` for each dot.
        group: Choices of the same group have the same candidate names and share one α. The name of
            the group then takes the place of their names.

    Raises:
        UsageError: There is no candidate, or a name cannot be used.
    """

    def __init__(
        self, candidates: Mapping[str, nn.Module], name: str | None = None, group: str | None = None
    ) -> None:
        super().__init__()
        if not candidates:
            raise UsageError(f"the choice {name or group or '(without a name)'} has no candidates")
        if name is not None and group is not None:
            raise UsageError(
                f"the choice {name!r} is in group {group!r}: give a name or a group, not both"
            )
        self.name = None if name is None else checked_name(name)
        self.group = None if group is None else checked_name(group)
        self.candidates = nn.ModuleDict()
        for candidate, module in candidates.items():
            if not isinstance(module, nn.Module):
                raise UsageError(
                    f"the candidate {candidate!r} of the choice {name or group} must be a module, "
                    f"found {type(module).__name__}"
                )
            try:
                self.candidates.add_module(candidate, module)
            except (KeyError, TypeError) as error:
                raise UsageError(
                    f"{candidate!r} cannot be the name of a candidate: take letters, digits and _"
                ) from error
        self._weights: Tensor | None = None
        self._active: Sequence[int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates."""
        return tuple(self.candidates)

    @contextmanager
    def mixed(self, weights: Tensor, active: Sequence[int] | None = None) -> Iterator[None]:
        """Mix the candidates inside the context.

        Args:
            weights: Weight of each candidate (O,).
            active: Indices of the candidates that run; all by default.
        """
        before = self._weights, self._active
        self._weights, self._active = weights, active
        try:
            yield
        finally:
            self._weights, self._active = before

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the weighted sum of the outputs of the candidates, for any arguments.

        Raises:
            UsageError: Nothing has been chosen, or two candidates return different shapes.
        """
        if self._weights is None:
            raise UsageError(
                f"the choice among {few(self.names)} is open: search the network, or call "
                f"freeze(network, genotype)"
            )
        total: Tensor | None = None
        first = ""
        modules = list(self.candidates.items())
        for index in range(len(modules)) if self._active is None else self._active:
            name, module = modules[index]
            out = module(*args, **kwargs)
            if not isinstance(out, Tensor):
                raise UsageError(
                    f"the candidate {name!r} must return a tensor, found {type(out).__name__}"
                )
            if total is not None and out.shape != total.shape:
                raise UsageError(
                    f"candidates of one choice must return the same shape: {first!r} returns "
                    f"{[*total.shape]}, {name!r} returns {[*out.shape]}"
                )
            share = out * self._weights[index]
            total, first = (share, name) if total is None else (total + share, first)
        assert total is not None
        return total

    def extra_repr(self) -> str:
        """Return the name, or the group."""
        return f"group={self.group!r}" if self.group else f"name={self.name!r}" if self.name else ""


def checked_name(name: str) -> str:
    """Return the name of a choice, after checking that α can have this name.

    Raises:
        UsageError: It has other characters than letters, digits and `_`, or is an attribute of the
            container of α.
    """
    if not re.fullmatch(r"\w+", name) or hasattr(nn.ParameterDict, name):
        raise UsageError(
            f"{name!r:.60} cannot be the name of a choice: take letters, digits and _, such as "
            f"block_0"
        )
    return name


def choices_of(network: nn.Module) -> dict[str, list[Choice]]:
    """Return the choices of a network by the name of their α, in the order of its modules.

    Raises:
        UsageError: Two choices have one name, or those of a group have other candidates.
    """
    found: dict[str, list[Choice]] = {}
    for path, module in network.named_modules():
        if not isinstance(module, Choice):
            continue
        key = module.group or module.name or checked_name(path.replace(".", "_") or "choice")
        others = found.setdefault(key, [])
        if others and not (module.group and others[0].group):
            raise UsageError(
                f"two choices have the name {key!r}: give each its own name, or give both "
                f"group={key!r} so that they share α"
            )
        if others and others[0].names != module.names:
            raise UsageError(
                f"choices of group {key!r} must have the same candidates, found "
                f"{few(others[0].names)} and {few(module.names)}"
            )
        others.append(module)
    return found


def frozen_copy(network: nn.Module, chosen: Mapping[str, str]) -> nn.Module:
    """Return a copy of a network with the chosen candidates in place of the choices.

    The names of its parameters are those of a network that was written with the chosen modules.

    Args:
        network: Any module, which is left as it is.
        chosen: Name of a choice or group → name of a candidate. Choices inside candidates that are
            not chosen may be left out.

    Raises:
        UsageError: A name is unknown or missing.
    """
    network = copy.deepcopy(network)
    names = {id(choice): key for key, group in choices_of(network).items() for choice in group}
    known = sorted(set(names.values()))
    for key in chosen:
        if key not in known:
            raise UsageError(
                f"{type(network).__name__} has no choice {key!r:.60}; it has {few(known)}"
            )
    return _frozen(network, names, chosen)


def _frozen(module: nn.Module, names: Mapping[int, str], chosen: Mapping[str, str]) -> nn.Module:
    """Return a module without choices; replaces those of its children in place."""
    while isinstance(module, Choice):
        key = names[id(module)]
        if key not in chosen:
            raise UsageError(f"the genotype does not decide the choice {key!r}")
        if chosen[key] not in module.names:
            raise UsageError(
                f"the choice {key!r} has no candidate {chosen[key]!r:.60}; it has "
                f"{few(module.names)}"
            )
        module = module.candidates[chosen[key]]
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _frozen(child, names, chosen)
    return module
