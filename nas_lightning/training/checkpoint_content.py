"""The form of a checkpoint's content, checked before anything is built or restored from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nas_lightning.errors import CheckpointError, ContentError
from nas_lightning.hparams import INSTANTIATOR
from nas_lightning.schema import read_value
from nas_lightning.text import shown

IMPORT_PATH = re.compile(r"([A-Za-z_]\w*\.)+[A-Za-z_]\w*")
Check = Callable[[Any, str], None]


def check_content(checkpoint: Mapping[str, Any], path: Path | str, key: str) -> None:
    """Check the types of all parts of a checkpoint.

    Args:
        checkpoint: The checkpoint.
        path: Its file, for the message.
        key: Key of its description.

    Raises:
        CheckpointError: A part is missing or of another type; names the file and the place.
    """
    required: dict[str, Check] = {key: _description, "state_dict": _tensors}
    optional: dict[str, Check] = {
        "epoch": _count,
        "global_step": _count,
        "pytorch-lightning_version": _version,
        "hyper_parameters": _hyperparameters,
        "callbacks": _callbacks,
        "loops": _loops,
        "optimizer_states": _optimizers,
        "lr_schedulers": _schedulers,
        "stage_state": _stage,
    }
    try:
        for name, check in required.items():
            if name not in checkpoint:
                raise ContentError(f"the key {name!r} is missing", "$")
            check(checkpoint[name], f"$.{name}")
        for name, check in optional.items():
            if name in checkpoint:
                check(checkpoint[name], f"$.{name}")
    except ContentError as error:
        raise CheckpointError(
            f"{path} is not valid: at {error.path}: {error.reason}; use a checkpoint that nas wrote"
        ) from error


def _description(found: Any, path: str) -> None:
    read_value(dict[str, Any], found, path)
    for name in ("kind", "space"):
        if name not in found:
            raise ContentError(f"the key {name!r} is missing", path)
        read_value(str, found[name], f"{path}.{name}")
    for name in ("data", "parts"):
        read_value(dict[str, Any], found.get(name, {}), f"{path}.{name}")


def _texts_as_keys(found: Any, path: str) -> None:
    read_value(dict[str, Any], found, path)
    for name in found:
        if not isinstance(name, str):
            raise ContentError(f"expected a text as key, found {shown(name)}", path)


def _version(found: Any, path: str) -> None:
    if not re.match(r"\d+\.\d", read_value(str, found, path)):
        raise ContentError(f"expected a version, found {shown(found)}", path)


def _hyperparameters(found: Any, path: str) -> None:
    """Check the names of the class and of the function that builds the module."""
    _texts_as_keys(found, path)
    for name in ("_class_path", "_instantiator"):
        if name in found and not IMPORT_PATH.fullmatch(read_value(str, found[name], path)):
            reason = f"expected an import path, found {shown(found[name])}"
            raise ContentError(reason, f"{path}.{name}")
    if found.get("_instantiator", INSTANTIATOR) != INSTANTIATOR:
        reason = f"expected {INSTANTIATOR}, found {shown(found['_instantiator'])}"
        raise ContentError(reason, f"{path}._instantiator")


def _tensors(found: Any, path: str) -> None:
    _texts_as_keys(found, path)
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise ContentError(f"expected a tensor, found {shown(value)}", f"{path}.{name}")


def _count(found: Any, path: str) -> None:
    if read_value(int, found, path) < 0:
        raise ContentError(f"expected a number of at least 0, found {found}", path)


def _callbacks(found: Any, path: str) -> None:
    _texts_as_keys(found, path)
    for name, state in found.items():
        _texts_as_keys(state, f"{path}[{shown(name)}]")


def _loops(found: Any, path: str) -> None:
    _texts_as_keys(found, path)
    _progress(found, path)
    fit = found.get("fit_loop")
    if fit is None:
        return
    for name in ("epoch_progress", "epoch_loop.batch_progress"):
        for part in ("total", "current"):
            if part not in fit.get(name, {}):
                raise ContentError(f"the key {part!r} is missing", f"{path}.fit_loop.{name}")


def _progress(found: dict[str, Any], path: str) -> None:
    """Check the counters of loops, at any depth."""
    for name, value in found.items():
        here = f"{path}.{name}"
        if name in ("total", "current"):
            for counter, number in read_value(dict[str, Any], value, here).items():
                _count(number, f"{here}.{counter}")
        elif name.endswith(("progress", "_loop", "state_dict", "optimizer", "step", "zero_grad")):
            inner = read_value(dict[str, Any], value, here)
            if not name.endswith("state_dict"):
                _progress(inner, here)


def _optimizers(found: Any, path: str) -> None:
    for i, state in enumerate(read_value(list[dict[str, Any]], found, path)):
        for name, kind in (("state", dict[Any, Any]), ("param_groups", list[dict[str, Any]])):
            if name not in state:
                raise ContentError(f"the key {name!r} is missing", f"{path}[{i}]")
            read_value(kind, state[name], f"{path}[{i}].{name}")
        for number, values in state["state"].items():
            read_value(dict[str, Any], values, f"{path}[{i}].state.{number}")
        for j, group in enumerate(state["param_groups"]):
            here = f"{path}[{i}].param_groups[{j}]"
            if "params" not in group:
                raise ContentError("the key 'params' is missing", here)
            read_value(list[int], group["params"], f"{here}.params")


def _schedulers(found: Any, path: str) -> None:
    read_value(list[dict[str, Any]], found, path)


def _stage(found: Any, path: str) -> None:
    read_value(dict[str, Any], found, path)
    for name in ("seed", "streams"):
        if name not in found:
            raise ContentError(f"the key {name!r} is missing", path)
    read_value(int, found["seed"], f"{path}.seed")
    read_value(list[Any] | None, found["streams"], f"{path}.streams")
