"""The network of a retraining, ready for use: with its preprocessing and its classes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from nas_lightning.architecture import Genotype
from nas_lightning.data import Preprocessing
from nas_lightning.deploy.run_data import run_data
from nas_lightning.errors import CheckpointError, ContentError, NASError, UsageError
from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.directory import CHECKPOINTS, CONFIG
from nas_lightning.runs.rebuilt import checkpoint_of, rebuilt
from nas_lightning.tasks import Classification, LanguageModeling, Task
from nas_lightning.training.checkpoints import KEY, read_checkpoint, recorded_meaning
from nas_lightning.training.meaning import CLASSES, WORDS, preprocessing


class Prediction(NamedTuple):
    """A class of an image.

    Attributes:
        name: Name of the class; its number if the classes have no names.
        probability: Probability of the class, by the softmax of the logits.
        label: Number of the class.
    """

    name: str
    probability: float
    label: int


class TrainedNetwork(nn.Module):
    """A retrained network in evaluation mode, without its auxiliary head.

    Attributes:
        network: The network.
        task: The task that it was trained for.
        data_spec: Sizes of the data.
        meaning: What inputs and outputs mean, see `nas_lightning.training.meaning`.
        genotype: The genotype.
        classes: Names of the classes in the order of the outputs; `None` without names.
        values: Names of the values of a regression; `None` without names.
        words: Words of a language model in the order of their numbers; `None` for others.
        preprocessing: Steps from an image file to an input; `None` if the data had none.
        checkpoint: File that the weights are from.
        run_dir: Run directory of the checkpoint; `None` if it is not in one.

    Args:
        module: The module of the retraining.
        checkpoint: File that the weights are from.
        content: Its content.
    """

    def __init__(self, module: RetrainModule, checkpoint: Path, content: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = module.network
        self.task: Task = module.task
        self.data_spec = dict(module.data_spec)
        self.genotype = Genotype(module.genotype.space, module.genotype.cells)
        self.checkpoint = checkpoint
        self.meaning = recorded_meaning(content)
        self.classes = _names(self.meaning.get(CLASSES))
        self.values = _names(self.meaning.get("values"))
        words = self.meaning.get(WORDS)
        self.words = tuple(words.split()) if isinstance(words, str) else None
        self.preprocessing = _preprocessing(content, checkpoint)
        folder = checkpoint.resolve().parent
        inside = folder.name == CHECKPOINTS and (folder.parent / CONFIG).is_file()
        self.run_dir = checkpoint.parent.parent if inside else None
        self.network.drop_auxiliary()
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Any:
        """Return the network's output; for images, logits (B, num_classes).

        A language model returns the logits of each next word (T, B, V) and the state after the
        last word (B, H).

        Args:
            x: A batch of inputs; of a language model, words (T, B).
            hidden: State of a language model before the first word (B, H); `None` means zeros.
        """
        if not self.is_language_model:
            return self.network(x)[0]
        output: LanguageOutput = self.network(TextInput(x, hidden))[0]
        return output.logits, output.hidden

    @property
    def is_language_model(self) -> bool:
        """True if the inputs are words, and a state is carried from word to word."""
        return isinstance(self.task, LanguageModeling)

    def preprocess(self, image: Image.Image | Path | str) -> Tensor:
        """Return the input (C, H, W) for an image or an image file, as in validation.

        Raises:
            UsageError: The data of the training does not describe the steps.
            DataError: The image cannot be read; the message names the file.
        """
        return self.steps()(image)

    def steps(self) -> Preprocessing:
        """Return the preprocessing: that of the checkpoint, else that of the run's data module.

        Raises:
            UsageError: Neither has one.
        """
        if self.preprocessing is None and self.run_dir is not None:
            with contextlib.suppress(NASError):  # the data may be gone
                found = preprocessing(run_data(self.run_dir, self.meaning))
                self.preprocessing = None if found is None else Preprocessing.from_dict(found)
        if self.preprocessing is None:
            raise UsageError(
                f"{self.checkpoint} does not say how an image file becomes an input: give the data "
                f"module an attribute preprocessing, a nas_lightning.data.Preprocessing"
            )
        return self.preprocessing

    def predict(self, image: Image.Image | Path | str, top: int = 5) -> list[Prediction]:
        """Return the most probable classes of an image or an image file, the best first.

        Args:
            image: The image.
            top: Number of classes; all if there are fewer.

        Raises:
            UsageError: The network does not classify, or `top` is not positive.
            DataError: The image cannot be read; the message names the file.
        """
        x = self.preprocess(image)
        with torch.no_grad():
            return self.best(self(x[None].to(self.device)), top)[0]

    def best(self, logits: Tensor, top: int = 5) -> list[list[Prediction]]:
        """Return the most probable classes of each image for logits (B, num_classes).

        Raises:
            UsageError: The network does not classify, or `top` is not positive.
        """
        if not isinstance(self.task, Classification):
            raise UsageError(f"{type(self.task).__name__} predicts no classes: call the network")
        if top < 1:
            raise UsageError(f"top must be at least 1, found {top}")
        found = logits.float().softmax(dim=1).topk(min(top, logits.shape[1]), dim=1)
        return [
            [Prediction(self.name_of(label), p, label) for p, label in zip(*row, strict=True)]
            for row in zip(found.values.tolist(), found.indices.tolist(), strict=True)
        ]

    def name_of(self, label: int) -> str:
        """Return the name of a class, or its number without names."""
        return str(label) if self.classes is None else self.classes[label]

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))


def load(source: str | os.PathLike[str]) -> TrainedNetwork:
    """Return the network of a retraining, on the CPU and in evaluation mode.

    Args:
        source: A run directory (its best checkpoint, else its last) or a checkpoint.

    Raises:
        UsageError: The run directory holds none, or code that it needs cannot be imported.
        CheckpointError: There is none, or it is damaged, or not of a retraining.
    """
    file = checkpoint_of(Path(source))
    content = read_checkpoint(file)
    kind = content[KEY]["kind"]
    if kind != "retrain":
        raise CheckpointError(
            f"{file} is a checkpoint of a {kind}: name one of a retraining, which `nas fit` makes "
            f"from the genotype of a search"
        )
    return TrainedNetwork(rebuilt(RetrainModule, file), file, content)


def _names(found: object) -> tuple[str, ...] | None:
    """Return names that a checkpoint records, if any."""
    return tuple(map(str, found)) if isinstance(found, list) else None


def _preprocessing(content: Mapping[str, Any], file: Path) -> Preprocessing | None:
    """Return the preprocessing that a checkpoint records, if any."""
    found = content[KEY].get("preprocessing")
    try:
        return None if found is None else Preprocessing.from_dict(found, f"$.{KEY}.preprocessing")
    except ContentError as error:
        raise CheckpointError(f"{file} is not valid: at {error.path}: {error.reason}") from error
