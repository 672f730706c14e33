"""A language model around a recurrent cell, the same in search and in retraining.

The parts are those of DARTS' language models: an embedding that is also the decoder's matrix,
dropout masks that stay the same for a whole sequence, and the initial state of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.ranges import PROBABILITY, check

INITIAL_RANGE = 0.04
"""Initial weights are uniform between minus this value and this value; the bias is zero."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
"""Activation functions of the operations, applied to a candidate state; `none` has no function."""

Steps = Callable[[Tensor, Tensor | None], Tensor]
"""The steps of a cell: initial state s0 (B, H) and mask of states → output of the cell (B, H)."""


DROPOUTS = ("dropout", "dropout_hidden", "dropout_input", "dropout_embedding")
"""Arguments of a factory, in the order of `Dropouts`."""


@dataclass(frozen=True)
class Dropouts:
    """Probabilities of dropping a value in training; kept values are scaled by 1/(1 - p).

    Attributes:
        output: Probability for the cell's output, before the decoder.
        hidden: Probability for every state that a weight matrix multiplies.
        input: Probability for the word that the cell reads.
        embedding: Probability for the embedded words, before `input`.
        word: Probability for whole words, that is, for rows of the embedding.

    Raises:
        UsageError: A value is not a probability below 1.
    """

    output: float
    hidden: float
    input: float
    embedding: float
    word: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        check(self, **{field.name: PROBABILITY for field in fields(self)})


class Masks(NamedTuple):
    """Dropout masks of one sequence, of values 0 and 1/(1 - p); `None` if nothing is dropped.

    A mask is (B, H) and the same for every word of the sequence; `word` is (V, 1).
    """

    output: Tensor | None = None
    hidden: Tensor | None = None
    input: Tensor | None = None
    embedding: Tensor | None = None
    word: Tensor | None = None


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return x times the mask, or x itself if there is no mask."""
    return x if mask is None else x * mask


def highway(state: Tensor, gate: Tensor, new: Tensor) -> Tensor:
    """Return the next state of the cell, s + sigmoid(c)·(new - s) (…, H)."""
    return state + torch.sigmoid(gate) * (new - state)


class LanguageModel(nn.Module):
    """Embedding, recurrent cell and decoder, which predict each next word of a text.

    With masks m and the previous output h of the cell, the initial state for a word x is

        (c0, h0) = split([x · m_input ; h · m_hidden] W0),  s0 = h + sigmoid(c0)·(tanh(h0) - h),

    and the caller computes the steps from s0.

    Args:
        num_tokens: Number of words V.
        hidden: Units H of every state and of the embedding.
        steps: Number of steps of the cell, each with a matrix (H, 2H).
        dropouts: Dropout probabilities.
    """

    def __init__(self, num_tokens: int, hidden: int, steps: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.hidden, self.dropouts = hidden, dropouts
        self.embedding = nn.Parameter(_uniform(num_tokens, hidden))
        self.bias = nn.Parameter(torch.zeros(num_tokens))
        self.initial = nn.Parameter(_uniform(2 * hidden, 2 * hidden))
        self.steps = nn.ParameterList(_uniform(hidden, 2 * hidden) for _ in range(steps))

    def forward(
        self, tokens: Tensor, hidden: Tensor | None, steps: Steps
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return logits (T, B, V), the last state (B, H), and in training the outputs (T, B, H).

        The outputs are those of the cell, before and after dropout; `None` in evaluation.

        Args:
            tokens: Words (T, B).
            hidden: Output of the cell before the first word (B, H); `None` means zeros.
            steps: Computes the steps of the cell.
        """
        masks = self.masks(tokens.shape[1])
        state = self.embedding.new_zeros(tokens.shape[1], self.hidden) if hidden is None else hidden
        x = F.embedding(tokens, self.embedding)  # (T, B, H)
        if masks.word is not None:
            x = x * F.embedding(tokens, masks.word)
        x = masked(masked(x, masks.embedding), masks.input)
        # the part of [x ; h] W0 from x, for all words at once
        words = x @ self.initial[: self.hidden]  # (T, B, 2H)
        recurrent, outputs = self.initial[self.hidden :], []
        for word in words.unbind():
            gate, new = (word + masked(state, masks.hidden) @ recurrent).chunk(2, dim=-1)
            state = steps(highway(state, gate, torch.tanh(new)), masks.hidden)
            outputs.append(state)
        raw = torch.stack(outputs)
        dropped = masked(raw, masks.output)
        logits = F.linear(dropped, self.embedding, self.bias)
        return (logits, state, raw, dropped) if self.training else (logits, state, None, None)

    def masks(self, batch: int) -> Masks:
        """Draw the masks of a sequence from the global generator; evaluation has no masks."""
        if not self.training:
            return Masks()
        units, p = (batch, self.hidden), self.dropouts
        return Masks(
            output=self._mask(p.output, units),
            hidden=self._mask(p.hidden, units),
            input=self._mask(p.input, units),
            embedding=self._mask(p.embedding, units),
            word=self._mask(p.word, (len(self.embedding), 1)),
        )

    def _mask(self, p: float, shape: tuple[int, int]) -> Tensor | None:
        return self.embedding.new_empty(shape).bernoulli_(1 - p).div_(1 - p) if p else None


def words_of(data_spec: Mapping[str, int]) -> int:
    """Return the number of words V of a `data_spec` for texts.

    Raises:
        UsageError: The data is not text.
    """
    if "num_tokens" not in data_spec:
        raise UsageError(
            f"a recurrent network needs text, but the data_spec of this data has no num_tokens, "
            f"only {', '.join(data_spec)}: use a text data module"
        )
    return data_spec["num_tokens"]


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
