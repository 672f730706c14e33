"""The data of a run, opened again from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import LightningDataModule

from nas_lightning.data.base import ImageData
from nas_lightning.errors import DataError, NASError
from nas_lightning.runs.directory import CONFIG
from nas_lightning.runs.failures import root_cause
from nas_lightning.runs.parser import NASArgumentParser
from nas_lightning.text import reason
from nas_lightning.text_files import read_text
from nas_lightning.training.meaning import CLASSES
from nas_lightning.yaml_text import parse_mapping

Loader = Callable[[LightningDataModule], Any]
PARTS: Mapping[str, tuple[str, Loader]] = {
    "validation": ("validate", lambda data: data.val_dataloader()),
    "test": ("test", lambda data: data.test_dataloader()),
    "training": ("fit", lambda data: data.train_dataloader()),
}
"""Parts of the data, in the order in which they are tried: stage of `setup`, and loader."""


def run_data(run_dir: Path, meaning: Mapping[str, Any]) -> LightningDataModule:
    """Return the data module of a run. Nothing is downloaded.

    Args:
        run_dir: The run directory.
        meaning: What inputs and outputs mean, as a checkpoint of the run records it.

    Raises:
        DataError: It cannot be built; says why.
    """
    file = run_dir / CONFIG
    with _explained():
        config = parse_mapping(read_text(file), str(file))
        parser = NASArgumentParser()
        parser.add_subclass_arguments(LightningDataModule, "data")
        given = parser.parse_object({"data": config.get("data")})
        data = parser.instantiate_classes(given).data
        if isinstance(data, ImageData):
            data.take_class_names(meaning.get(CLASSES))
    assert isinstance(data, LightningDataModule)  # the type of the argument
    if hasattr(data, "num_workers"):
        data.num_workers = 0  # a single batch is not worth processes
    return data


def first_batch(data: LightningDataModule) -> tuple[str, Any]:
    """Return the first batch of a data module's validation, test or training data.

    Returns:
        Name of the part, and the batch.

    Raises:
        DataError: No part can be opened, or all are empty; says why.
    """
    problem = DataError("it has no samples")
    for part, (stage, open_loader) in PARTS.items():
        try:
            with _explained():
                data.setup(stage)
                batch = _first(open_loader(data))
        except DataError as error:
            problem = error
            continue
        if batch is not None:
            return part, batch
    raise problem


def _first(loader: Any) -> Any:
    """Return the first batch of a loader or of several, or `None`."""
    if isinstance(loader, list | tuple):
        return next((batch for one in loader if (batch := _first(one)) is not None), None)
    return next(iter(loader), None)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn every error inside into one line.

    Raises:
        DataError: Something was raised.
    """
    try:
        yield
    except Exception as error:  # the data of others may raise anything
        cause = root_cause(error)
        kind = "" if isinstance(cause, NASError) else f"{type(cause).__name__}: "
        text = f"{kind}{reason(cause)}"
        raise DataError(text) from error
