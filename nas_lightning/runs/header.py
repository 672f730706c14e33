"""Describe a run in a few lines."""

from __future__ import annotations

from lightning import LightningDataModule, LightningModule

from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.search import SearchModule
from nas_lightning.search.settings import differences


def header(model: LightningModule, data: LightningDataModule) -> str:
    """Return the lines that a run prints at its start: the size of the network, and more.

    A search adds its plan, slot by slot. A retraining adds the settings in which it differs from
    the search that found its genotype, if that search is known.
    """
    if isinstance(model, SearchModule):
        size = f"{count_parameters(model.supernet):,} weights"
        return f"{'supernet':<24} {size}\n{model.plan.describe()}"
    if isinstance(model, RetrainModule):
        lines = [f"{'network':<24} {count_parameters(model.network):,} parameters"]
        return "\n".join([*lines, *_other_settings(model, data)])
    return f"{'model':<24} {count_parameters(model):,} parameters"


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
