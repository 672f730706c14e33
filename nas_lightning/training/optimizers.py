"""PyTorch's own optimizers, made to step in one operation."""

from __future__ import annotations

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

KINDS = (SGD, Adam, AdamW)


def fuse(optimizer: Optimizer) -> Optimizer:
    """Have PyTorch's SGD, Adam or AdamW step all parameters of a group in one operation.

    Groups that say how they want to step (`foreach` or `fused`, be it false), that are dampened or
    differentiable, or that are not of floating point on a CPU or a CUDA device stay as they are.

    Args:
        optimizer: Any, before its first step. Others are not changed.

    Returns:
        The same.
    """
    if type(optimizer) not in KINDS:
        return optimizer
    for group in optimizer.param_groups:
        told = group["foreach"] is not None or group["fused"] is not None
        other = group["differentiable"] or group.get("dampening")
        if not told and not other and all(map(_fits, group["params"])):
            group["fused"] = True
        if group["fused"] and group.get("momentum") and not group["dampening"]:
            # fused SGD fails where some parameters have had no gradient yet (PyTorch 2.15), as
            # where operations are drawn; a buffer of zeros comes to the same as none, unless the
            # first gradient would be dampened
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _fits(parameter: torch.Tensor) -> bool:
    return parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point()
