"""A language model around a recurrent cell, the same in search and in retraining.

The parts are those of DARTS' language models: an embedding that is also the decoder's matrix,
masks of dropout that stay for a whole sequence, and the state that a cell starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError

INITIAL_RANGE = 0.04
"""Fresh weights are uniform between minus this and this; the decoder's bias is zero."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
"""What the operations of the space do to a candidate state; `none` is no operation at all."""

Steps = Callable[[Tensor, Tensor | None], Tensor]
"""The steps of a cell: initial state s0 (B, H) and mask of states → output of the cell (B, H)."""


@dataclass(frozen=True)
class Dropouts:
    """Probabilities of a zero in training; what remains is scaled by 1/(1 - p).

    Attributes:
        output: In the cell's output, before the decoder.
        hidden: In every state that a weight multiplies.
        input: In what the cell reads of a word.
        embedding: In the embedded words, before that.
        word: Of whole words: their rows of the embedding.

    Raises:
        UsageError: One is no probability.
    """

    output: float
    hidden: float
    input: float
    embedding: float
    word: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        for field in fields(self):
            p = getattr(self, field.name)
            if not 0 <= p < 1:
                raise UsageError(
                    f"dropout ({field.name}) must be at least 0 and below 1, found {p}"
                )


class Masks(NamedTuple):
    """Masks of one sequence, zeros and 1/(1 - p); none where nothing is dropped.

    Each is (B, H) and the same for every word of the sequence, `word` is (V, 1).
    """

    output: Tensor | None = None
    hidden: Tensor | None = None
    input: Tensor | None = None
    embedding: Tensor | None = None
    word: Tensor | None = None


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Under a mask, or as it is without one."""
    return x if mask is None else x * mask


def highway(state: Tensor, gate: Tensor, new: Tensor) -> Tensor:
    """How every state of the cell follows from another: s + sigmoid(c)·(new - s) (…, H)."""
    return state + torch.sigmoid(gate) * (new - state)


class LanguageModel(nn.Module):
    """Embedding, recurrent cell and decoder: predicts each next word of a text.

    With masks m and the previous output h of the cell, a word x begins with

        (c0, h0) = split([x · m_input ; h · m_hidden] W0),  s0 = h + sigmoid(c0)·(tanh(h0) - h),

    and its steps are left to the caller.

    Args:
        num_tokens: Words V.
        hidden: Units H of every state and of the embedding.
        steps: Steps of the cell, each with a matrix (H, 2H).
        dropouts: Probabilities of dropping.
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
        """Logits (T, B, V), last state (B, H), and in training raw and dropped output (T, B, H).

        Args:
            tokens: Words (T, B).
            hidden: Output of the cell before the first of them (B, H); zeros by default.
            steps: The steps of the cell.
        """
        masks = self.masks(tokens.shape[1])
        state = self.embedding.new_zeros(tokens.shape[1], self.hidden) if hidden is None else hidden
        x = F.embedding(tokens, self.embedding)  # (T, B, H)
        if masks.word is not None:
            x = x * F.embedding(tokens, masks.word)
        x = masked(masked(x, masks.embedding), masks.input)
        # the words' share of [x ; h] W0, for all of them at once
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
        """Fresh masks of a sequence from the global generator; none in evaluation."""
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
    """Number of words V of a data module's texts.

    Raises:
        UsageError: The data is no text.
    """
    if "num_tokens" not in data_spec:
        raise UsageError(
            f"a recurrent network needs text, and the data is of another kind: its data_spec has "
            f"no num_tokens, only {', '.join(data_spec)}"
        )
    return data_spec["num_tokens"]


def _uniform(*shape: int) -> Tensor:
    return torch.empty(shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE)
