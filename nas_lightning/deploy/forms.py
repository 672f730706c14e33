"""Forms in which a network is written to a file: its inputs and outputs, and how it is compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim

from nas_lightning.deploy.trained import TrainedNetwork
from nas_lightning.errors import UsageError
from nas_lightning.operators import build_operator
from nas_lightning.tasks import Task

Runner = Callable[[Sequence[Tensor]], list[Tensor]]
"""A network read from a file: inputs → outputs."""

SAMPLES = 16
"""Samples on which a file is compared with its checkpoint."""
LENGTH = 20
"""Words of each text in a comparison."""


class Pair(NamedTuple):
    """An output of the checkpoint's network and that of the file."""

    wanted: Tensor
    found: Tensor


class Form(nn.Module, ABC):
    """A network with tensors as inputs and outputs, whose batch size is free.

    Args:
        network: The network.
    """

    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]

    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def examples(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Return inputs of two samples, from which the file is made."""

    @abstractmethod
    def compare(self, run: Runner, samples: Tensor) -> list[Pair]:
        """Run the file on one sample and on all, and return its outputs beside the checkpoint's."""

    @abstractmethod
    def made_up(self) -> Tensor:
        """Return samples of the right shape with random values.

        Raises:
            UsageError: The sizes of the data do not say the shape.
        """

    @abstractmethod
    def samples(self, batch: Any) -> Tensor:
        """Return at most `SAMPLES` samples of a batch of the data."""

    def dimensions(self) -> tuple[dict[int, Dim], ...]:
        """Return the free dimensions of each input."""
        return ({0: Dim("batch", min=1)},) * len(self.inputs)


class Whole(Form):
    """A network from a batch of inputs to a batch of outputs."""

    inputs = ("input",)
    outputs = ("output",)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for inputs x (B, …)."""
        output: Tensor = self.network(x)
        return output

    def examples(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Return two samples (2, …)."""
        return (samples[[0, -1]],)

    def compare(self, run: Runner, samples: Tensor) -> list[Pair]:
        """Compare the outputs for one sample, and for all."""
        return [Pair(self(x), run([x])[0]) for x in (samples[:1], samples)]

    def made_up(self) -> Tensor:
        """Return images, or measurements of an inverse problem, of white noise (B, C, …)."""
        spec = self.network.data_spec
        if not {"in_channels", "image_size"} <= spec.keys():
            raise UsageError(
                "no samples can be made up, since data_spec has no in_channels and image_size: "
                "keep the data of the run where it was"
            )
        shape = [SAMPLES, spec["in_channels"], *[spec["image_size"]] * int(spec.get("dims", 2))]
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return build_operator(spec["operator"])(noise) if "operator" in spec else noise

    def samples(self, batch: Any) -> Tensor:
        """Return inputs (B, …)."""
        task = self.network.task
        x = task.inputs(task.conform(batch, torch.float32))
        if not isinstance(x, Tensor):
            raise UsageError(
                f"the input that {type(task).__name__} makes of a batch is no tensor, but a "
                f"{type(x).__name__}: export cannot write its network"
            )
        return x[:SAMPLES]


class Step(Form):
    """A language model that reads one word of each text, and returns its state for the next."""

    inputs = ("word", "hidden")
    outputs = ("logits", "next_hidden")

    def forward(self, word: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the next word (B, V) and the state after the word (B, H).

        Args:
            word: A word of each text (B,).
            hidden: State before it (B, H); zeros at the start of a text.
        """
        logits, hidden = self.network(word[None], hidden)
        return logits[0], hidden

    def examples(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Return a word of each of two texts, and their states."""
        return samples[0, [0, -1]], self._start(samples[:, [0, -1]])

    def _start(self, texts: Tensor) -> Tensor:
        """Return the states before texts (T, B), zeros (B, H)."""
        _, hidden = self.network(texts[:1])
        return torch.zeros_like(hidden)

    def compare(self, run: Runner, samples: Tensor) -> list[Pair]:
        """Read texts (T, B) word by word with the file, and at once with the checkpoint."""
        pairs = []
        for texts in (samples[:, :1], samples):
            logits, hidden = self.network(texts)
            rows, state = [], self._start(texts)
            for words in texts:
                row, state = run([words, state])
                rows.append(row)
            pairs += [Pair(logits, torch.stack(rows)), Pair(hidden, state)]
        return pairs

    def made_up(self) -> Tensor:
        """Return texts of random words (T, B)."""
        count = int(self.network.data_spec["num_tokens"])
        generator = torch.Generator().manual_seed(0)
        return torch.randint(count, (LENGTH, SAMPLES), generator=generator)

    def samples(self, batch: Any) -> Tensor:
        """Return texts (T, B)."""
        task = self.network.task
        words: Tensor = task.inputs(task.conform(batch, torch.float32)).tokens
        return words[:LENGTH, :SAMPLES]


def form_of(network: TrainedNetwork) -> Form:
    """Return the form in which a network is written.

    Raises:
        UsageError: Its task carries a state that no form has.
    """
    if network.is_language_model:
        return Step(network).eval()
    task = type(network.task)
    if task.carry is not Task.carry:
        raise UsageError(
            f"{task.__name__} carries a state from batch to batch, for which a file needs an input "
            f"and an output: export knows those of LanguageModeling only"
        )
    return Whole(network).eval()
