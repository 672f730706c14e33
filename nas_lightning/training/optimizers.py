"""Optimizers of a run: fused steps, and settings that no checkpoint overrides."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nas_lightning.errors import UsageError
from nas_lightning.ranges import LARGEST
from nas_lightning.text import reason

KINDS = (SGD, Adam, AdamW)
LATE = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg", "momentum": "momentum_buffer"}
"""Settings of PyTorch's optimizers, and the zeros that their states then start with."""


def check_optimizer(name: str, make: Callable[[Any], Optimizer], parameters: Sequence[Any]) -> None:
    """Check that an optimizer can be built and can step, before anything is trained.

    Args:
        name: Its name in messages, such as `model.optimizer`.
        make: Builds it.
        parameters: The parameters, or groups of them.

    Raises:
        UsageError: It refuses its arguments or the parameters, needs the loss several times in a
            step, cannot step on a dense gradient, or has a setting that is not finite.
    """
    value = nn.Parameter(torch.ones(2, 2))
    value.grad = torch.ones(2, 2)
    groups = [{**p, "params": [value]} if isinstance(p, dict) else value for p in parameters[:1]]
    try:
        make(parameters)
        trial = make(groups)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name}: {reason(error)}") from error
    kind = type(trial).__name__
    closure = inspect.signature(trial.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise UsageError(
            f"{name}: {kind} computes the loss several times in a step, which is not supported: "
            f"use SGD, Adam or AdamW"
        )
    for setting, found in trial.param_groups[0].items():
        for number in found if isinstance(found, tuple) else (found,):
            if isinstance(number, float) and not abs(number) <= LARGEST:
                raise UsageError(f"{name}: {setting} of {kind} must be finite, found {number:g}")
    try:
        trial.step()
    except Exception as error:  # an optimizer may be anybody's
        raise UsageError(f"{name}: {kind} cannot take a step: {reason(error)}") from error


def prepare(optimizer: Optimizer) -> Optimizer:
    """Fuse the steps of an optimizer, and let loads change its states but not its settings.

    The settings are the rates, momenta and decays of its parameter groups. Those of a checkpoint
    are ignored.

    Args:
        optimizer: Any optimizer before its first step.

    Returns:
        The given optimizer.
    """
    optimizer.register_load_state_dict_pre_hook(_with_own_settings)
    optimizer.register_load_state_dict_post_hook(_complete)
    optimizer.register_load_state_dict_post_hook(_lay_out)
    return fuse(optimizer)


def settings_of(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the settings of a parameter group, by name.

    Some optimizers also keep a state there. Its names are among the defaults of the optimizer but
    not among the arguments of its constructor.
    """
    arguments = inspect.signature(type(optimizer)).parameters
    state = {"params", *(name for name in optimizer.defaults if name not in arguments)}
    return {name: copy.deepcopy(value) for name, value in group.items() if name not in state}


def _with_own_settings(optimizer: Optimizer, loaded: dict[str, Any]) -> dict[str, Any]:
    """Return a loaded state with the present settings."""
    groups = [
        {**theirs, **settings_of(optimizer, own), **_swa_rates(theirs)}
        for own, theirs in zip(optimizer.param_groups, loaded["param_groups"], strict=True)
    ]
    return {**loaded, "param_groups": groups}


def _swa_rates(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rates of a group that `StochasticWeightAveraging` had taken over."""
    return {name: group[name] for name in ("lr", "initial_lr", "swa_lr") if "swa_lr" in group}


def _complete(optimizer: Optimizer) -> None:
    """Add the states that the present settings need and a checkpoint of others lacks."""
    if not type(optimizer).__module__.startswith("torch.optim"):
        return
    for group in optimizer.param_groups:
        needed = [key for setting, key in LATE.items() if group.get(setting)]
        if group.get("dampening"):  # SGD does not dampen the gradient that starts the buffer
            continue
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            for key in needed:
                # others start the whole state in their first step, SGD also copes with a part
                if (state or isinstance(optimizer, SGD)) and state.get(key) is None:
                    state[key] = torch.zeros_like(parameter)


def _lay_out(optimizer: Optimizer) -> None:
    """Store loaded states in the memory layout of their parameters.

    Fused steps on a CPU read both in the order of memory, and would silently mix up the entries.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            alike = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if alike and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def fuse(optimizer: Optimizer) -> Optimizer:
    """Make PyTorch's SGD, Adam or AdamW step all parameters of a group in one operation.

    A group is left unchanged if it sets `foreach` or `fused` (even to False), has dampening, is
    differentiable, or has parameters that are not floating point or not on a CPU or CUDA device.

    Args:
        optimizer: Any optimizer before its first step. Other classes are left unchanged.

    Returns:
        The given optimizer.
    """
    if type(optimizer) not in KINDS:
        return optimizer
    for group in optimizer.param_groups:
        told = group["foreach"] is not None or group["fused"] is not None
        other = group["differentiable"] or group.get("dampening")
        if not told and not other and all(map(_fits, group["params"])):
            group["fused"] = True
        if group["fused"] and group.get("momentum") and not group["dampening"]:
            # fused SGD fails if some parameters have had no gradient yet (PyTorch 2.15), which
            # happens when operations are sampled. A buffer of zeros is equivalent to none, unless
            # the first gradient is dampened
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def laid_out(gradient: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return a gradient in the memory layout of its parameter.

    Optimizers are slow where the two differ, and fused steps on a CPU would mix up the entries.
    `Tensor.backward` sees to it, `torch.autograd.grad` and a mean over processes do not.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def restart(optimizer: Optimizer) -> None:
    """Drop the state of an optimizer, such as its momentum, as if it had not stepped yet."""
    optimizer.state.clear()
    fuse(optimizer)


def _fits(parameter: torch.Tensor) -> bool:
    return parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()
