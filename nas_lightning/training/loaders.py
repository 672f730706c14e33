"""Loaders of a user's data module, which Lightning rebuilds with other samplers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from lightning import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden

from nas_lightning.errors import UsageError

METHODS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")


def make_rebuildable(data: LightningDataModule) -> None:
    """Let Lightning rebuild loaders that a data module makes with positional arguments.

    For a prediction, or with several processes, Lightning calls the class of a loader again with
    the recorded positional arguments and with other ones by keyword. `DataLoader(dataset, 16)`
    would then get its batch size twice (Lightning 2.6, issue 17991).

    Args:
        data: The data module. Its methods are wrapped, once.
    """
    for name in METHODS:
        method = getattr(data, name)
        if inspect.ismethod(method) and is_overridden(name, data):
            setattr(data, name, functools.partial(_rebuildable, name, method))


def _rebuildable(name: str, method: Any) -> Any:
    """Call a method and name the recorded arguments of the loaders that it returns.

    Raises:
        UsageError: It returns loaders that are read one after the other.
    """
    found = method()
    _check(f"{type(method.__self__).__name__}.{name}", name, found)
    for loader in _loaders(found):
        record = getattr(loader, "__dict__", {})
        names, values = record.get("__pl_saved_arg_names"), record.get("__pl_saved_args", ())
        if names and len(names) == len(values):
            record["__pl_saved_kwargs"] = {
                **dict(zip(names, values, strict=True)),
                **record["__pl_saved_kwargs"],
            }
            record["__pl_saved_args"], record["__pl_saved_arg_names"] = (), ()
    return found


def _check(where: str, name: str, found: Any) -> None:
    if name == METHODS[0]:
        if getattr(found, "_mode", "") == "sequential":
            raise UsageError(
                f"{where} returns a CombinedLoader of mode sequential: a step needs batches of all "
                f"its loaders, so use min_size or max_size_cycle"
            )
    elif (number := len(list(_loaders(found)))) > 1:
        raise UsageError(
            f"{where} returns {number} loaders: return one, such as that of a ConcatDataset"
        )


def _loaders(found: Any) -> Iterator[Any]:
    if isinstance(found, CombinedLoader):
        found = found.flattened
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, list | tuple):
        for item in found:
            yield from _loaders(item)
    else:
        yield found
