"""Language modelling, word by word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from nas_lightning.errors import UsageError
from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check
from nas_lightning.tasks.base import Mode, Task
from nas_lightning.tasks.mean import Mean
from nas_lightning.tasks.parts import as_index, describe_part, parts, wrong_pair, wrong_range

Batch = tuple[Tensor, Tensor]
"""Words (T, B), and the word that follows each of them (T, B)."""


class Perplexity(Mean):
    """Exponential of the mean cross-entropy of all words.

    It is updated with the mean cross-entropy of a batch and its number of words. The perplexity of
    torchmetrics takes the logarithm of a softmax, so that one word with a probability below 1e-45
    makes it infinite.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """Return the perplexity ()."""
        return super().compute().exp()


@final
class LanguageModeling(Task):
    """Cross-entropy of the next word, on batches of words (T, B) and following words (T, B).

    The loss that trains the weights has two more terms, the regularisers of Merity et al.,
    "Regularizing and Optimizing LSTM Language Models" (ICLR 2018), section 4.7:
    `activation · mean(dropped²) + slowness · mean((raw[1:] - raw[:-1])²)`. The logged losses and
    the outer loss of a search are the cross-entropy alone.

    Args:
        bptt: Sequence length, in words, for which the learning rate is set. The rate of a batch
            of length T is scaled by T / bptt.
        activation: Factor α of the activation regulariser.
        slowness: Factor β of the temporal activation regulariser.

    Raises:
        UsageError: An argument is out of range.
    """

    directions: ClassVar[Mapping[str, Mode]] = {"perplexity": "min"}

    def __init__(self, bptt: int = 35, activation: float = 0.0, slowness: float = 1e-3) -> None:
        self.bptt = bptt
        self.activation = activation
        self.slowness = slowness
        check(self, bptt=at_least(1), activation=NOT_NEGATIVE, slowness=NOT_NEGATIVE)

    def mismatch(self, batch: Any, data_spec: Mapping[str, Any], *, targets: bool) -> str | None:
        """Compare the words with `num_tokens`."""
        if wrong := wrong_pair(batch, "words", "following words", targets=targets):
            return wrong
        found = parts(batch) or []
        for name, part in zip(("words", "following words"), found[: 1 + targets], strict=True):
            if part.dim() != 2 or part.shape != found[0].shape:
                return f"{name} must have the shape (T, columns), found {describe_part(part)}"
            if wrong := wrong_range(part, name, data_spec["num_tokens"], "num_tokens"):
                return wrong
        return None

    def conform(self, batch: Any, dtype: torch.dtype) -> Any:
        """Return the words as 64-bit integers."""
        return tuple(as_index(part) for part in parts(batch) or ())

    def inputs(self, batch: Batch, carried: Tensor | None = None) -> TextInput:
        """Return the words (T, B) and the hidden state (B, H) after the previous batch."""
        tokens = batch[0]
        # a state from a checkpoint is on the CPU
        return TextInput(tokens, None if carried is None else carried.to(tokens.device))

    def carry(self, output: LanguageOutput) -> Tensor:
        """Return the last hidden state (B, H), detached from its graph."""
        return output.hidden.detach()

    def loss(self, output: LanguageOutput, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of all words (), in nats."""
        return F.cross_entropy(output.logits.flatten(0, 1), batch[1].flatten())

    def regularization(self, output: LanguageOutput) -> Tensor | float:
        """Return the sum of the two regularisers (), as far as the output has their inputs."""
        total: Tensor | float = 0.0
        if self.activation and output.dropped is not None:
            total = total + self.activation * output.dropped.square().mean()
        # a single word has no difference
        if self.slowness and output.raw is not None and len(output.raw) > 1:
            total = total + self.slowness * output.raw.diff(dim=0).square().mean()
        return total

    def metrics(self, data_spec: Mapping[str, Any]) -> MetricCollection:
        """Return the perplexity."""
        return MetricCollection({"perplexity": Perplexity()})

    def update(self, metrics: MetricCollection, output: LanguageOutput, batch: Batch) -> None:
        """Update the perplexity with the words of a batch."""
        metrics.update(self.loss(output, batch), self.size(batch))

    def predictions(self, output: LanguageOutput) -> NoReturn:
        """Refuse, since a language model has no predictions to write.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a language model writes no predictions: `nas test` prints its perplexity")

    def detached(self, output: LanguageOutput) -> LanguageOutput:
        """Return the output, detached from its graph."""
        return LanguageOutput(
            output.logits.detach(),
            output.hidden.detach(),
            None if output.raw is None else output.raw.detach(),
            None if output.dropped is None else output.dropped.detach(),
        )

    def size(self, batch: Batch) -> int:
        """Return the number of words in a batch, T · B."""
        return batch[0].numel()

    def rate_scale(self, batch: Batch) -> float:
        """Return T / bptt, so that a shorter sequence takes a smaller step."""
        return len(batch[0]) / self.bptt
