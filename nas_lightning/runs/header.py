"""Describe a run in a few lines."""

from __future__ import annotations

import math

from lightning import LightningDataModule, LightningModule

from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.search import SearchModule
from nas_lightning.search.settings import differences

MANY = 10**12
"""Number of networks from which on only its size is shown."""


def header(model: LightningModule, data: LightningDataModule, epochs: int | None = None) -> str:
    """Return the lines that a run prints at its start: the size of the network, and more.

    A search adds its plan, slot by slot. A retraining adds the settings in which it differs from
    the search that found its genotype, if that search is known.

    Args:
        model: The module.
        data: Its data.
        epochs: Number of epochs of the run; `None` if it does not train.
    """
    if isinstance(model, SearchModule):
        lines = [f"{'supernet':<24} {count_parameters(model.supernet):,} weights"]
        if model.space.of_choices:
            networks = math.prod(len(cell.primitives) for cell in model.space.cells)
            count = f"{networks:,}" if networks < MANY else f"{networks:.1e}"
            lines.append(f"{'choices':<24} {len(model.space.cells)}, of {count} networks")
        return "\n".join([*lines, model.plan.describe(), *too_short(model, epochs)])
    if isinstance(model, RetrainModule):
        lines = [f"{'network':<24} {count_parameters(model.network):,} parameters"]
        return "\n".join([*lines, *_other_settings(model, data), *too_short(model, epochs)])
    return f"{'model':<24} {count_parameters(model):,} parameters"


def too_short(model: SearchModule | RetrainModule, epochs: int | None) -> list[str]:
    """Return warnings about a run that ends before its warm-up does.

    Args:
        model: The module.
        epochs: Number of epochs of the run, or `None`.
    """
    if epochs is None or epochs < 1:
        return []
    found = []
    if isinstance(model, SearchModule):
        found += [
            f"warning: {strategy!r} lets no α learn in the {epochs} epochs of this run: its "
            f"genotype says nothing; raise trainer.max_epochs, or lower the epochs of the strategy"
            for strategy in model.strategies
            if strategy.alpha_from >= epochs
        ]
        schedules = [model.weight_schedule, model.arch_schedule]
    else:
        schedules = [model.schedule]
    return found + [
        f"warning: the warm-up of {schedule!r} is longer than the {epochs} epochs of this run"
        for schedule in schedules
        if getattr(schedule, "warmup_epochs", 0) > epochs
    ]


def _other_settings(model: RetrainModule, data: LightningDataModule) -> list[str]:
    theirs = model.genotype.provenance.get("settings")
    found = differences(theirs, model.settings(data)) if isinstance(theirs, dict) else {}
    lines = [
        f"  {name:<22} {before} in the search, {now} here" for name, (before, now) in found.items()
    ]
    return (
        ["warning: settings differ from the search (`nas doctor` compares):", *lines]
        if lines
        else []
    )
