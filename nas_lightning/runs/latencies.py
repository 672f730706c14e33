"""The network that `nas latency` measures: the one that the budget of a search is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nas_lightning.architecture import NetworkFactory, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.runs.quiet import quiet
from nas_lightning.search import SearchModule
from nas_lightning.spaces import default_network


def budgeted(configs: Sequence[str]) -> tuple[SearchSpace, NetworkFactory, Mapping[str, Any]]:
    """Return space, network and sizes of the data of a search's budget.

    A search without a budget has those of its retraining.

    Args:
        configs: Configurations of a search, later ones win.

    Raises:
        UsageError: The configuration is not that of a search.
    """
    quiet()
    cli = PlanCLI(["fit", *(part for config in configs for part in ("--config", config))])
    model = cli.model
    if not isinstance(model, SearchModule):
        raise UsageError(f"{configs[-1]} is a retraining: nas latency needs the search")
    for strategy in model.strategies:
        if strategy.budgeted is not None:
            return model.space, *strategy.budgeted
    return model.space, default_network(model.space), model.plan.data_spec


def accelerator(name: str) -> str:
    """Return the device of `auto`, `cpu` or `gpu`.

    Raises:
        UsageError: There is no GPU.
    """
    there = torch.cuda.is_available()
    if name == "gpu" and not there:
        raise UsageError("--accelerator gpu: this machine has no CUDA device")
    return "cuda" if there and name != "cpu" else "cpu"
