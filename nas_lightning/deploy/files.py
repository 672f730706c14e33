"""Write a retrained network to a file, and compare the file with the checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas_lightning import __version__
from nas_lightning.architecture.cost import count_parameters
from nas_lightning.deploy.formats import format_of
from nas_lightning.deploy.forms import Form, Pair, form_of
from nas_lightning.deploy.run_data import first_batch, run_data
from nas_lightning.deploy.trained import TrainedNetwork, load
from nas_lightning.errors import DataError, NASError, RunFailedError, UsageError
from nas_lightning.files import is_there, replacing
from nas_lightning.hparams import init_args, to_config
from nas_lightning.ranges import POSITIVE, check_value

FORMAT, VERSION = "nas-lightning network", 1
TOLERANCE = 1e-4
"""Largest difference, relative to the largest output (at least 1)."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    Attributes:
        path: The file.
        network: The network in it.
        difference: Largest absolute difference between its outputs and those of the checkpoint.
        largest: Largest absolute output of the checkpoint.
        compared: The samples that they were compared on, in words.
    """

    path: Path
    network: TrainedNetwork
    difference: float
    largest: float
    compared: str

    def __str__(self) -> str:
        """Return lines about it."""
        network = self.network
        steps = network.preprocessing
        rows = {
            "network": f"{count_parameters(network.network):,} parameters, {network.checkpoint}",
            "preprocessing": "none in the file" if steps is None else str(steps),
            "compared on": self.compared,
            "largest difference": f"{self.difference:.2g} (outputs up to {self.largest:.3g})",
            "written to": f"{self.path} ({self.path.stat().st_size / 2**20:,.2f} MiB)",
        }
        return "\n".join(f"{name:<24} {text}" for name, text in rows.items())


def export(
    source: str | os.PathLike[str], output: str | os.PathLike[str], tolerance: float = TOLERANCE
) -> Exported:
    """Write the network of a retraining to a file that needs nothing of this package.

    The file is read again and compared with the checkpoint. If they differ, nothing is written,
    and a file of that name stays as it was.

    Args:
        source: A run directory (its best checkpoint, else its last) or a checkpoint.
        output: The file; its suffix `.pt2`, `.onnx` or `.pt` chooses the format.
        tolerance: Largest difference of an output, relative to the largest output (at least 1).

    Raises:
        UsageError: The suffix is unknown, a package is missing, or the network cannot be written.
        CheckpointError: The checkpoint is damaged, or not of a retraining.
        RunFailedError: The outputs of the file differ by more than the tolerance.
    """
    path = Path(output)
    check_value("tolerance", tolerance, POSITIVE)
    format_ = format_of(path)
    if is_there(path) and path.is_dir():
        raise UsageError(f"{path} is a folder: name a file")
    network = load(source)
    form = form_of(network)
    samples, compared = find_samples(form)
    with torch.no_grad():
        content = format_.write(form, samples, describe(form, samples))
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
                pairs = form.compare(format_.open(temporary.read_bytes()), samples)
                difference, largest = distance(pairs, tolerance, path)
        except OSError as error:
            raise NASError(f"cannot write {path}: {error.strerror}") from error
    return Exported(path, network, difference, largest, compared)


def find_samples(form: Form) -> tuple[Tensor, str]:
    """Return samples of the run's data, or made-up ones, and words about them.

    Raises:
        UsageError: The data is not there, and no samples can be made up.
    """
    network = form.network
    why = "the checkpoint is not in a run directory"
    if network.run_dir is not None:
        try:
            data = run_data(network.run_dir, network.meaning)
            part, batch = first_batch(data)
            samples = form.samples(batch)
            return samples, f"{_counted(samples)} of the {part} data, {type(data).__name__}"
        except DataError as error:
            why = f"the run's data cannot be read: {error}"
    made = form.made_up()
    return made, f"{_counted(made)}, made up ({why})"


def _counted(samples: Tensor) -> str:
    return f"inputs {tuple(samples.shape)}"


def distance(pairs: list[Pair], tolerance: float, path: Path) -> tuple[float, float]:
    """Return the largest difference of outputs, and the largest output of the checkpoint.

    Raises:
        RunFailedError: The difference is above the tolerance, or an output is not finite.
    """
    for wanted, found in pairs:
        if wanted.shape != found.shape:
            raise RunFailedError(
                f"{path} was not written: its output has the shape {tuple(found.shape)}, that of "
                f"the checkpoint {tuple(wanted.shape)}"
            )
    difference = max(float((found - wanted).abs().max()) for wanted, found in pairs)
    largest = max(float(wanted.abs().max()) for wanted, _ in pairs)
    if not difference <= tolerance * max(1.0, largest):  # also if one of them is not a number
        raise RunFailedError(
            f"{path} was not written: its outputs differ from those of the checkpoint by "
            f"{difference:.3g} (outputs up to {largest:.3g}); --tolerance allows more"
        )
    return difference, largest


def describe(form: Form, samples: Tensor) -> dict[str, Any]:
    """Return what a user of the file needs to know, as plain data."""
    network = form.network
    try:
        steps = network.steps().to_dict()
    except UsageError:
        steps = None
    examples = form.examples(samples)
    outputs = form(*examples)
    results = [outputs] if isinstance(outputs, Tensor) else outputs
    return {
        "format": FORMAT,
        "version": VERSION,
        "nas_lightning": __version__,
        "task": type(network.task).__name__,
        "task_arguments": to_config(init_args(network.task)),
        "inputs": _shapes(form.inputs, examples),
        "outputs": _shapes(form.outputs, results),
        "preprocessing": steps,
        "classes": None if network.classes is None else list(network.classes),
        "values": None if network.values is None else list(network.values),
        "words": None if network.words is None else list(network.words),
        "data_spec": network.data_spec,
        "genotype": network.genotype.to_dict(),
    }


def _shapes(names: tuple[str, ...], tensors: Any) -> list[dict[str, Any]]:
    """Return name, shape and type of tensors; the batch is free."""
    return [
        {
            "name": name,
            "shape": ["batch", *tensor.shape[1:]],
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
        for name, tensor in zip(names, tensors, strict=True)
    ]
