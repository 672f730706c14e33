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
        UsageError: The path is no such class, or its arguments do not fit.
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
        raise UsageError(
            f"{path}: {reason(error)}; its arguments are {few(list(signature.parameters))}, and "
            f"the data sets {few(sorted(data_spec))}"
        ) from error
    network = found(**given)
    assert isinstance(network, nn.Module)
    return network


def check_choices(network: nn.Module, data_spec: Mapping[str, Any]) -> None:
    """Run a network without computing anything: do all choices take part, and shapes agree?

    The check runs on the meta device, for images only. A network that cannot run there is checked
    by its first batch.

    Args:
        network: A network with choices, on the meta device.
        data_spec: Sizes of the data, from the data module.

    Raises:
        UsageError: Two candidates return different shapes, or a choice is never called.
    """
    size = data_spec.get("image_size")
    channels = data_spec.get("in_channels")
    if not isinstance(size, int) or not isinstance(channels, int):
        return
    images = torch.empty(2, channels, size, size, device="meta")
    called: set[Choice] = set()
    with ExitStack() as stack:
        groups = choices_of(network)
        for choice in (choice for group in groups.values() for choice in group):
            hook = choice.register_forward_pre_hook(lambda module, _: called.add(module))
            stack.callback(hook.remove)
            weights = torch.ones(len(choice.names), device="meta")
            stack.enter_context(choice.mixed(weights))
        try:
            with torch.no_grad():
                network(images)
        except UsageError:
            raise
        except (RuntimeError, NotImplementedError, TypeError, ValueError):
            return  # it branches on values, or its error is clearer with real images
    if idle := [name for name, group in groups.items() if not called & set(group)]:
        raise UsageError(f"the network never calls the choice {few(idle)}")
