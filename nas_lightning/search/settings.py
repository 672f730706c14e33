"""Settings that a search and the retraining of its genotype can share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from nas_lightning.training.stage import Stage

SHARED = (
    "channels",
    "layers",
    "cells",
    "hidden",
    "stem",
    "drop_path",
    "auxiliary_weight",
    "cutout",
    "weight_decay",
    "label_smoothing",
)
"""Settings that a cell's performance may depend on: sizes and regularisation of its network."""


def shared_settings(
    stage: Stage, factory: object, optimizer: OptimizerCallable, data: object
) -> dict[str, Any]:
    """Return the shared settings that a stage has, by name.

    Args:
        stage: A search or a retraining.
        factory: Factory of its network.
        optimizer: Optimizer of its weights.
        data: Its data module, or `None`.
    """
    defaults = optimizer([nn.Parameter(torch.zeros(1))]).defaults
    sources = (stage, factory, stage.task, data)
    found = {"weight_decay": defaults.get("weight_decay")}
    for name in SHARED:
        values = (getattr(source, name) for source in sources if hasattr(source, name))
        found.setdefault(name, next(values, None))
    return {name: found[name] for name in SHARED if found[name] is not None}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that two stages both have and that differ, with both values."""
    both = [name for name in SHARED if name in first and name in second]
    return {name: (first[name], second[name]) for name in both if first[name] != second[name]}
