"""The language model of a recurrent genotype, for training from scratch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError
from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.ranges import PROBABILITY, WIDTH, check
from nas_lightning.spaces.recurrent.language_model import (
    ACTIVATIONS,
    DROPOUTS,
    Dropouts,
    LanguageModel,
    highway,
    masked,
    words_of,
)
from nas_lightning.spaces.recurrent.space import RecurrentSpace


class DiscreteLanguageModel(RetrainNetwork):
    """A language model with the cell of a genotype, without batch norm.

    Step i computes, from the state s of its predecessor,
    (c, h) = split((s · m_hidden) W_i), s_i = s + sigmoid(c)·(f(h) - s).

    Args:
        genotype: The cell. A step with several predecessors is the sum of the states computed from
            each; a step without predecessors is zero.
        num_tokens: Number of words V.
        hidden: Number of units H.
        dropouts: Dropout probabilities.
    """

    def __init__(
        self, genotype: CellGenotype, num_tokens: int, hidden: int, dropouts: Dropouts
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.model = LanguageModel(num_tokens, hidden, len(genotype.nodes), dropouts)

    def forward(self, x: TextInput) -> tuple[LanguageOutput, None]:
        """Return the logits of each next word (T, B, V), and `None` for the auxiliary head."""
        return LanguageOutput(*self.model(x.tokens, x.hidden, self._steps)), None

    def _steps(self, s0: Tensor, mask: Tensor | None) -> Tensor:
        """Return the output of the cell (B, H) for its initial state (B, H)."""
        states = [s0]
        for node, matrix in zip(self.genotype.nodes, self.model.steps, strict=True):
            terms = []
            for kept in node:
                before = states[kept.source]
                gate, candidate = (masked(before, mask) @ matrix).chunk(2, dim=-1)
                terms.append(highway(before, gate, ACTIVATIONS[kept.primitive](candidate)))
            states.append(functools.reduce(operator.add, terms or [torch.zeros_like(s0)]))
        return torch.stack([states[i] for i in self.genotype.concat]).mean(dim=0)


@final
class RecurrentNetwork(NetworkFactory):
    """Factory of the language model of a recurrent cell. Defaults are DARTS' on PTB.

    Args:
        hidden: Number of units H of every state and of the embedding.
        dropout: Dropout probability of the cell's output, before the decoder.
        dropout_hidden: Dropout probability of every state that a weight matrix multiplies.
        dropout_input: Dropout probability of the word that the cell reads.
        dropout_embedding: Dropout probability of the embedded words, before `dropout_input`.
        dropout_word: Probability of dropping a word at all its places in a batch.

    Raises:
        UsageError: A size or probability is out of range.
    """

    def __init__(
        self,
        hidden: int = 850,
        dropout: float = 0.75,
        dropout_hidden: float = 0.25,
        dropout_input: float = 0.75,
        dropout_embedding: float = 0.2,
        dropout_word: float = 0.1,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.dropout_hidden = dropout_hidden
        self.dropout_input = dropout_input
        self.dropout_embedding = dropout_embedding
        self.dropout_word = dropout_word
        check(self, hidden=WIDTH, dropout_word=PROBABILITY)
        check(self, **dict.fromkeys(DROPOUTS, PROBABILITY))
        self._dropouts = Dropouts(
            dropout, dropout_hidden, dropout_input, dropout_embedding, dropout_word
        )

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> DiscreteLanguageModel:
        """Build the network for texts; needs `num_tokens`.

        Raises:
            UsageError: The genotype belongs to another space, an auxiliary head is requested, or
                the data is not text.
        """
        if not isinstance(genotype.space, RecurrentSpace):
            raise UsageError(
                f"RecurrentNetwork needs a genotype of darts_recurrent, found a genotype of "
                f"{genotype.space.name}"
            )
        if auxiliary:
            raise UsageError("a recurrent network has no auxiliary head: set auxiliary_weight to 0")
        cell = genotype.cells["recurrent"]
        return DiscreteLanguageModel(cell, words_of(data_spec), self.hidden, self._dropouts)
