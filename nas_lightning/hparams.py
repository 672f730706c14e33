"""Constructor arguments as plain data, so that a checkpoint can be read with `weights_only`.

Contract: a configurable object keeps every constructor argument under its own name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_lightning.errors import UsageError

if TYPE_CHECKING:  # Lightning takes seconds to import, and brings pyplot
    from lightning import LightningModule

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""Import path of the function with which `load_from_checkpoint` rebuilds a module."""


def init_args(obj: object) -> dict[str, Any]:
    """Return the constructor arguments of an object that keeps them under their own names."""
    parameters = inspect.signature(type(obj)).parameters
    return {name: getattr(obj, name) for name in parameters}


def describe(obj: object) -> str:
    """Return the constructor call of an object, such as `WarmUp(epochs=15)`."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in init_args(obj).items())
    return f"{type(obj).__name__}({arguments})"


def to_config(value: Any) -> Any:
    """Convert an argument to plain data that jsonargparse reads back as an equal argument."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_config(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_config(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, functools.partial):
        return {"class_path": _import_path(target(value)), "init_args": to_config(value.keywords)}
    if inspect.isroutine(value) or inspect.isclass(value):
        return _import_path(value)
    return {"class_path": _import_path(type(value)), "init_args": to_config(init_args(value))}


def record_hyperparameters(module: LightningModule, arguments: Mapping[str, Any]) -> None:
    """Save the hyperparameters of a module as plain data, also without a command line.

    Args:
        module: The module under construction.
        arguments: Arguments of its constructor, by name.
    """
    module.save_hyperparameters(logger=False)
    if "_instantiator" not in module.hparams:  # built in Python: live objects were saved
        module.save_hyperparameters(
            {
                "_class_path": _import_path(type(module)),
                "_instantiator": INSTANTIATOR,
                **to_config(arguments),
            },
            logger=False,
        )


def target(partial: functools.partial[Any]) -> Any:
    """Return the function or class that a partial calls.

    jsonargparse passes the class as the last positional argument of a helper.

    Raises:
        UsageError: The partial has positional arguments of its own.
    """
    if not partial.args:
        return partial.func
    if inspect.isclass(partial.args[-1]):
        return partial.args[-1]
    raise UsageError(f"{partial!r}: pass the arguments of a partial by keyword")


def _import_path(obj: Any) -> str:
    if "<" in obj.__qualname__:
        raise UsageError(
            f"{obj.__qualname__} cannot be saved in a checkpoint: use a function or class that "
            f"can be imported"
        )
    return f"{obj.__module__}.{obj.__qualname__}"
