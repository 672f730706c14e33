"""The parts of a run that a resumed run must keep, and their comparison with a checkpoint.

A checkpoint records the parts as plain data: names of classes, and the arguments of the search
space. `changed_part` compares the record with the run that loads it. Everything that is not
recorded may change on a resume, such as the settings of optimizers, schedules, the number of epochs
and the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nas_lightning.architecture import SearchSpace

Parts = Mapping[str, Any]
"""Setting, as it is named on the command line → class name, list of class names, or value."""

FACTORIES = ("supernet", "network")
NONE = "absent"
"""Text of an entry that one of two mappings lacks."""


def record(parts: Mapping[str, object]) -> dict[str, Any]:
    """Return the record of a run's parts, as plain data.

    Args:
        parts: Objects, or lists of them, by the setting that names their class; those that are
            `None` are left out.
    """
    return {
        name: [type(item).__name__ for item in part]
        if isinstance(part, list | tuple)
        else type(part).__name__
        for name, part in parts.items()
        if part is not None
    }


def space_record(space: SearchSpace) -> dict[str, Any]:
    """Return the arguments of a search space, as plain data."""
    return _arguments(space.to_config())


def earlier_record(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a checkpoint from before there were records, from its hyper-parameters.

    Parts that were not configured are left out.
    """
    found: dict[str, Any] = {}
    if "_class_path" in hyperparameters:
        found["model"] = _name(hyperparameters["_class_path"])
    for name, value in hyperparameters.items():
        if isinstance(value, Mapping) and "class_path" in value:
            found[f"model.{name}"] = _name(value["class_path"])
        elif name == "strategies":
            found["model.strategies"] = [_name(item["class_path"]) for item in value or ()]
    return found


def changed_space(before: Mapping[str, Any] | None, now: SearchSpace) -> str | None:
    """Describe the first argument of a search space that differs from a record, if any.

    Args:
        before: Record of a space, or the configuration of a factory that has its arguments.
        now: The search space.
    """
    return next(_differing(before, space_record(now)), None)


def changed_part(before: Parts, now: Parts) -> str | None:
    """Describe the first part that a checkpoint and a run both have and that differs.

    Args:
        before: Record of the checkpoint.
        now: Record of the run.

    Returns:
        The setting with both values; `None` if nothing differs.
    """
    for name, value in now.items():
        if name in before and before[name] != value:
            return f"{name} is {_shown(before[name])} in the checkpoint and {_shown(value)} now"
    return None


def changed_tensor(module: nn.Module, state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor that a module and a state dict do not share."""
    mine = module.state_dict()
    for name in (*mine, *state):
        if name not in mine or name not in state or mine[name].shape != state[name].shape:
            return name
    return None


def changed_size(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describe the first size of the network that differs between two sets of hyper-parameters.

    Args:
        before: Hyper-parameters of the checkpoint.
        now: Hyper-parameters of the module.
    """
    for name in FACTORIES:
        old, new = before.get(name), now.get(name)
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            continue
        if found := next(_differing(_arguments(old), _arguments(new)), None):
            return f"model.{name}.{found}"
    if before.get("strategies") != now.get("strategies"):
        one, two = (_by_class(values.get("strategies")) for values in (before, now))
        if found := ", ".join(_differing(one, two)):
            return f"model.strategies: {found}"
    if found := next(_differing(before.get("data_spec", {}), now.get("data_spec", {})), None):
        return f"the data's {found}"
    switched = (bool(values.get("auxiliary_weight")) for values in (before, now))
    if len(set(switched)) > 1:
        return f"model.{next(_differing(before, now, 'auxiliary_weight'))}"
    return None


def changed_optimizer(saved: Mapping[str, Any], optimizer: Optimizer) -> str | None:
    """Describe the reason why an optimizer cannot continue from a state; `None` if it can.

    Args:
        saved: State dict of an optimizer.
        optimizer: Optimizer before its first step.
    """
    groups, mine = saved["param_groups"], optimizer.param_groups
    before = {key for group in groups for key in group}
    now = {key for group in mine for key in group} | {"initial_lr"}
    if before - now and now - before:  # a release of PyTorch only adds settings
        return "has the state of another optimizer"
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in mine]:
        return "has the state of other parameters"
    return None


def _differing(before: object, now: object, *names: str) -> Iterator[str]:
    """Yield `name is OLD in the checkpoint and NEW now` for the entries that both have.

    Of an entry that is a mapping, such as the choices of a network, its entries are compared.
    """
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return
    for name in names or now:
        if name not in before or name not in now or before[name] == now[name]:
            continue
        old, new = before[name], now[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in {**old, **new}:
                one, two = old.get(key, NONE), new.get(key, NONE)
                if one != two:
                    yield f"{name}.{key} is {_shown(one)} in the checkpoint and {_shown(two)} now"
        else:
            yield f"{name} is {_shown(old)} in the checkpoint and {_shown(new)} now"


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    arguments: Mapping[str, Any] = config.get("init_args") or {}
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: object) -> object:
    """Return tuples as lists: a checkpoint may have stored either."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _by_class(strategies: object) -> dict[str, Any]:
    listed = strategies if isinstance(strategies, list) else []
    return {
        f"{_name(item['class_path'])}.{name}": value
        for item in listed
        for name, value in _arguments(item).items()
    }


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) or "empty" if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
