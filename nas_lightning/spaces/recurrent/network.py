"""The language model of a recurrent genotype, as it is trained from scratch."""

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
from nas_lightning.spaces.recurrent.language_model import (
    ACTIVATIONS,
    Dropouts,
    LanguageModel,
    highway,
    masked,
    words_of,
)
from nas_lightning.spaces.recurrent.space import RecurrentSpace
from nas_lightning.tasks import LanguageOutput, TextInput


class DiscreteLanguageModel(RetrainNetwork):
    """A language model with the cell of a genotype, without batch norm.

    Step i follows the state s of its predecessor:
    (c, h) = split((s · m_hidden) W_i), s_i = s + sigmoid(c)·(f(h) - s).

    Args:
        genotype: The cell; a step that keeps several predecessors is their sum, and one that
            keeps none is zero.
        num_tokens: Words V.
        hidden: Units H.
        dropouts: Probabilities of dropping.
    """

    def __init__(
        self, genotype: CellGenotype, num_tokens: int, hidden: int, dropouts: Dropouts
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.model = LanguageModel(num_tokens, hidden, len(genotype.nodes), dropouts)

    def forward(self, x: TextInput) -> tuple[LanguageOutput, None]:
        """What follows each word (T, B, V), and no auxiliary head."""
        return LanguageOutput(*self.model(x.tokens, x.hidden, self._steps)), None

    def _steps(self, s0: Tensor, mask: Tensor | None) -> Tensor:
        """Output of the cell (B, H) for its initial state (B, H)."""
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
    """The language model of a cell of the recurrent space. Defaults are DARTS' on PTB.

    Args:
        hidden: Units H of every state and of the embedding.
        dropout: Probability of a zero in the cell's output, before the decoder.
        dropout_hidden: The same in every state that a weight multiplies.
        dropout_input: The same in what the cell reads of a word.
        dropout_embedding: The same in the embedded words, before that.
        dropout_word: Probability with which a word is dropped wherever it stands in a batch.

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
        if hidden < 1:
            raise UsageError(f"hidden must be at least 1, found {hidden}")
        self.hidden = hidden
        self.dropout = dropout
        self.dropout_hidden = dropout_hidden
        self.dropout_input = dropout_input
        self.dropout_embedding = dropout_embedding
        self.dropout_word = dropout_word
        self._dropouts = Dropouts(
            dropout, dropout_hidden, dropout_input, dropout_embedding, dropout_word
        )

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> DiscreteLanguageModel:
        """Build it for texts; needs `num_tokens`.

        Raises:
            UsageError: The genotype is of another space, an auxiliary head is asked for, or there
                is no text.
        """
        if not isinstance(genotype.space, RecurrentSpace):
            raise UsageError(
                f"RecurrentNetwork is for cells of the space darts_recurrent, and the genotype is "
                f"of {genotype.space.name}"
            )
        if auxiliary:
            raise UsageError("a recurrent network has no auxiliary head: set auxiliary_weight 0")
        cell = genotype.cells["recurrent"]
        return DiscreteLanguageModel(cell, words_of(data_spec), self.hidden, self._dropouts)
