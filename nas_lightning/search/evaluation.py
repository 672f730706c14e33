"""Evaluate a supernet: under its mixing weights, and one-shot on discrete cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from nas_lightning.architecture import Genotype
from nas_lightning.search.checks import check_halves
from nas_lightning.search.discretize import one_hot
from nas_lightning.supernet import ArchitectureParameters, Mixing, Supernet
from nas_lightning.training.batches import halves
from nas_lightning.training.stage import Stage

VAL = "search/val"
"""Prefix of the names of the validation metrics."""


class SupernetStage(Stage, ABC):
    """A stage whose network is a supernet: validation, one-shot test and prediction.

    Attributes:
        supernet: The supernet.
        arch: Architecture parameters α, β.
        candidate: Cells whose one-shot performance is tested; `None` for the cells found.
    """

    supernet: Supernet
    arch: ArchitectureParameters
    candidate: Genotype | None = None
    _one_shot: Mixing | None = None

    @abstractmethod
    def genotype(self, **provenance: Any) -> Genotype:
        """Return the genotype that the search has found so far."""

    @property
    def trained(self) -> nn.Module:
        """The supernet."""
        return self.supernet

    def forward(self, x: Any) -> Any:
        """Return the supernet's output under the present mixing weights."""
        return self.supernet(x, self.arch())

    def on_train_start(self) -> None:
        """Also check that the halves of the data are combined."""
        super().on_train_start()
        check_halves(self.trainer)

    def halves(self, batch: Any) -> dict[str, Any]:
        """Return the two halves of a training batch in the form that the task takes.

        Raises:
            DataError: A half is missing, or a first batch does not fit `data_spec`.
        """
        found = zip(("train", "val"), halves(batch, self._data), strict=True)
        return {name: self.accept(f"train_dataloader, half {name!r}", half) for name, half in found}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of the supernet, `search/val_…`."""
        batch = self.accept("val_dataloader", batch)
        self._evaluate("val", VAL, batch, self.arch())

    def on_test_start(self) -> None:
        """Choose the cells to test: `candidate`, or by default the cells found."""
        self.streams.restart("one_shot")
        self._one_shot = one_hot(self.space, self.candidate or self.genotype(), self.device)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and metrics of the discrete cells in the supernet, `one_shot/test_…`."""
        assert self._one_shot is not None
        batch = self.accept("test_dataloader", batch)
        self._evaluate("one_shot", "one_shot/test", batch, self._one_shot)

    def _evaluate(self, stream: str, name: str, batch: Any, mixing: Mixing) -> None:
        output = self.supernet(self.streams.inputs(stream, batch), mixing)
        self.streams.report(self, stream, name, batch, output, self.task.loss(output, batch))
        self.streams.carry(stream, output)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the supernet's output (B, …)."""
        return self(self.task.inputs(self.accept("predict_dataloader", batch)))
