"""Fused steps for PyTorch's own optimizers."""

from __future__ import annotations

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

KINDS = (SGD, Adam, AdamW)


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


def _fits(parameter: torch.Tensor) -> bool:
    return parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()
