"""Checks of a run's model, data and trainer, made before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging

from nas_lightning.data.base import ImageData
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.training.checkpoints import recorded_meaning
from nas_lightning.training.meaning import CLASSES, meaning
from nas_lightning.training.spec import checked_spec


def data_spec(
    data: LightningDataModule, checkpoint: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the sizes of a data module's data.

    Args:
        data: The data module. Images without a training set get the class names of the checkpoint.
        checkpoint: Content of the checkpoint that is tested or predicts, if there is one.

    Raises:
        DataError: The data is missing, or the checkpoint does not name its classes.
        UsageError: The data module does not have them, or they are malformed.
    """
    if checkpoint is not None and isinstance(data, ImageData):
        data.take_class_names(recorded_meaning(checkpoint).get(CLASSES))
    spec = getattr(data, "data_spec", None)
    if spec is None:
        raise UsageError(
            f"{type(data).__name__} does not give the sizes of its data: add an attribute "
            f'data_spec = {{"in_channels": …, "num_classes": …, "image_size": …}}, which is there '
            f"before setup"
        )
    found = dict(checked_spec(spec, type(data).__name__))
    meaning(data)  # raises if its other attributes are malformed
    return found


def refuse_callbacks(trainer: Trainer, model: LightningModule) -> None:
    """Refuse search strategies among the trainer's callbacks, and averaged weights in a search.

    Lightning would silently drop a strategy if the search has one of its class. Averaged weights
    would include α, which checkpoints would then have and the genotype not.

    Raises:
        UsageError: There is one.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # set by a connector
        if isinstance(callback, SearchStrategy):
            raise UsageError(
                f"trainer.callbacks: {type(callback).__name__} is a search strategy: list it under "
                f"model.strategies of a SearchModule"
            )
        averages = isinstance(callback, WeightAveraging | StochasticWeightAveraging)
        if averages and isinstance(model, SearchModule):
            raise UsageError(
                f"trainer.callbacks: {type(callback).__name__} is for retraining: remove it from "
                f"the search"
            )
