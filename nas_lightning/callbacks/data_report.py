"""The data that a run found, printed at its start."""

from __future__ import annotations

from typing import Any, final

from lightning import Callback, LightningDataModule, LightningModule, Trainer


@final
class DataReport(Callback):
    """Print classes, samples of each part and what was ignored, once the data is open."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the lines on the first process; Lightning has set up the data before."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined] # set by a connector
        if trainer.is_global_zero and data is not None:
            print("\n".join(f"{name:<24} {text}" for name, text in summary(data)), flush=True)


def summary(data: LightningDataModule) -> list[tuple[str, str]]:
    """Return what a data module found, as lines of a name and a text.

    A data module may have a method `summary` that returns them. Of another one, only the number of
    classes is known before its first batch.
    """
    own = getattr(data, "summary", None)
    if callable(own):
        lines: list[tuple[str, str]] = own()
        return lines
    lines = [("data", type(data).__name__)]
    spec = getattr(data, "data_spec", None) or {}
    if "num_classes" in spec:
        lines.append(("classes", str(spec["num_classes"])))
    return lines
