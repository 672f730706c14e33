"""Build a user's network from its import path, and check its choices."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from nas_lightning.errors import UsageError
from nas_lightning.imports import import_object
from nas_lightning.layers.choice import Choice, choices_of
from nas_lightning.text import few, reason

BATCH = 2
"""Images that a check runs: batch norm in training needs several values."""


def build_network(
    path: str, arguments: Mapping[str, Any], data_spec: Mapping[str, Any]
) -> nn.Module:
    """Build a network.

    Arguments of its constructor that have the name of an entry of `data_spec`, such as
    `num_classes`, take its value unless `arguments` sets them.

    Args:
        path: Import path of a subclass of `torch.nn.Module`.
        arguments: Arguments of its constructor.
        data_spec: Sizes of the data, from the data module.

    Raises:
        UsageError: The path is no such class, its arguments do not fit, or its constructor fails.
    """
    found = import_object(path)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"{path} is not a subclass of torch.nn.Module")
    signature = inspect.signature(found)
    from_data = {name: data_spec[name] for name in signature.parameters if name in data_spec}
    given = {**from_data, **arguments}
    try:
        signature.bind(**given)
    except TypeError as error:
        names = few(list(signature.parameters))
        known = f"its arguments are {names}" if names else "it has no arguments"
        raise UsageError(
            f"{path}: {reason(error)}; {known}, and the data sets {few(sorted(data_spec))}"
        ) from error
    try:
        return found(**given)
    except UsageError:
        raise
    except Exception as error:
        shown = ", ".join(f"{name}={value!r:.60}" for name, value in given.items())
        raise UsageError(f"{path}({shown}) cannot be built: {reason(error)}") from error


def checked_choices(
    path: str, arguments: Mapping[str, Any], data_spec: Mapping[str, Any]
) -> nn.Module:
    """Return a network whose choices are checked, without weights.

    It is built and run on the meta device, which computes nothing. A network that cannot run there,
    since it branches on values for example, is built and run on the CPU.

    Args:
        path: Import path of the network.
        arguments: Arguments of its constructor.
        data_spec: Sizes of the data, from the data module.

    Raises:
        UsageError: It cannot be built or run, or its choices do not fit together.
    """
    with torch.device("meta"):
        network = build_network(path, arguments, data_spec)
    if not choices_of(network):
        raise UsageError(f"{path} has no choices: put a Choice into it")
    try:
        check_choices(network, data_spec, "meta")
    except UsageError:
        raise
    except Exception:  # noqa: BLE001 (of any kind, and clearer with real images)
        with torch.random.fork_rng(devices=[]):
            real = build_network(path, arguments, data_spec)
            try:
                check_choices(real, data_spec, "cpu")
            except UsageError:
                raise
            except Exception as error:
                size = [BATCH, *_image(data_spec)]
                raise UsageError(f"{path} fails for images {size}: {reason(error)}") from error
    return network


def _image(data_spec: Mapping[str, Any]) -> list[int]:
    """Return the shape of an image; empty if the data is not images of one size."""
    channels, size = data_spec.get("in_channels"), data_spec.get("image_size")
    is_image = isinstance(channels, int) and isinstance(size, int)
    return [channels, size, size] if is_image else []  # type: ignore[list-item] # `is_image` says that both are numbers


def check_choices(network: nn.Module, data_spec: Mapping[str, Any], device: str) -> None:
    """Run a network on images: do all choices take part, and shapes agree?

    Networks for other data are checked by their first batch.

    Args:
        network: A network with choices.
        data_spec: Sizes of the data, from the data module.
        device: Device of the network.

    Raises:
        UsageError: Two candidates return different shapes, or a choice is never called.
    """
    if not (image := _image(data_spec)):
        choices_of(network)
        return
    images = torch.zeros(BATCH, *image, device=device)
    called: set[Choice] = set()
    with ExitStack() as stack:
        groups = choices_of(network)
        for choice in (choice for group in groups.values() for choice in group):
            hook = choice.register_forward_pre_hook(lambda module, _: called.add(module))
            stack.callback(hook.remove)
            weights = torch.ones(len(choice.names), device=device)
            stack.enter_context(choice.mixed(weights))
        with torch.no_grad():
            network(images)
    if idle := [name for name, group in groups.items() if not called & set(group)]:
        raise UsageError(f"the network never calls the choice {few(idle)}")
