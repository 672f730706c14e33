"""The supernet of the recurrent space: every step mixes all earlier states."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.layers.text import LanguageOutput, TextInput
from nas_lightning.ranges import NODES, PROBABILITY, WIDTH, check
from nas_lightning.spaces.recurrent.language_model import (
    ACTIVATIONS,
    DROPOUTS,
    Dropouts,
    LanguageModel,
    highway,
    masked,
    words_of,
)
from nas_lightning.spaces.recurrent.space import RECURRENT_PRIMITIVES, RecurrentSpace
from nas_lightning.supernet.base import (
    Supernet,
    SupernetFactory,
    check_one_execution,
)
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active, Mixing


class Term(NamedTuple):
    """An activation in a step.

    Attributes:
        primitive: Name of the activation.
        rows: Predecessors on which it runs, as indices into `Step.sources` (J,); `None` means all.
        weights: Weight of the activation on each of these predecessors (J, 1, 1).
    """

    primitive: str
    rows: Tensor | None
    weights: Tensor


class Step(NamedTuple):
    """The computation of one step under given mixing weights.

    Attributes:
        sources: State indices of the I predecessors on which at least one activation runs.
        total: Sum of the weights of all activations on each predecessor (I, 1, 1).
        terms: The activations that run.
    """

    sources: list[int]
    total: Tensor
    terms: list[Term]


class MixedLanguageModel(Supernet):
    """A language model whose cell is mixed (DARTS, equation 2, on the recurrent cell).

    Step i of the cell, with p = operation weight · edge weight and `none` adding nothing:

        (c_j, h_j) = split((s_j · m_hidden) W_i),
        s_i = norm(sum over predecessors j and activations f of
                   p_jf · (s_j + sigmoid(c_j)·(f(h_j) - s_j))).

    All predecessors are multiplied by W_i at once, and each activation runs once for all of them.
    s0 and all steps share one batch norm, without parameters or running statistics.

    Args:
        cell: The recurrent cell.
        num_tokens: Number of words V.
        hidden: Number of units H.
        dropouts: Dropout probabilities.
    """

    def __init__(self, cell: Cell, num_tokens: int, hidden: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.cell = cell
        self.model = LanguageModel(num_tokens, hidden, len(cell.nodes), dropouts)
        self.norm: nn.Module = nn.BatchNorm1d(hidden, affine=False, track_running_stats=False)

    def forward(self, x: TextInput, mixing: Mixing) -> LanguageOutput:
        """Return the logits of each next word (T, B, V) under the mixing weights.

        Raises:
            UsageError: The batch has a single text, and so no batch statistics.
        """
        if x.tokens.shape[1] < 2:
            raise UsageError(
                "the supernet normalises with batch statistics and needs at least two texts in a "
                "batch: raise data.test_batch_size, or whichever batch size is 1"
            )
        kind = self.cell.kind
        weights = mixing.ops[kind] * mixing.edges[kind][:, None]  # (E, O)
        steps = _weighted_steps(self.cell, weights, mixing.active.get(kind))
        return LanguageOutput(
            *self.model(x.tokens, x.hidden, functools.partial(self._steps, steps))
        )

    def _steps(self, steps: list[Step], s0: Tensor, mask: Tensor | None) -> Tensor:
        """Return the output of the cell (B, H) for its initial state (B, H)."""
        states = [self.norm(s0)]
        for step, matrix in zip(steps, self.model.steps, strict=True):
            if step.sources:
                before = torch.stack([states[j] for j in step.sources])  # (I, B, H)
                state = _mixed(step, before, masked(before, mask) @ matrix)
            else:
                state = torch.zeros_like(s0)
            states.append(self.norm(state))
        return torch.stack(states[1:]).mean(dim=0)


def _weighted_steps(cell: Cell, weights: Tensor, active: Active | None) -> list[Step]:
    """Return the computation of each step of the cell under weights (E, O)."""
    operations = [m for m, primitive in enumerate(cell.primitives) if primitive != "none"]
    runs = [
        [m in operations and (active is None or m in active[edge]) for m in range(weights.shape[1])]
        for edge in range(len(cell.edges))
    ]
    weights = weights * weights.new_tensor(runs)
    total = weights.sum(dim=1)
    steps = []
    for node in cell.nodes:
        edges = [edge for edge in cell.incoming(node) if any(runs[edge])]
        terms = []
        for m in operations:
            rows = [row for row, edge in enumerate(edges) if runs[edge][m]]
            if rows:
                shares = weights[[edges[row] for row in rows], m]
                some = None if len(rows) == len(edges) else torch.tensor(rows, device=shares.device)
                terms.append(Term(cell.primitives[m], some, shares[:, None, None]))
        sources = [cell.edges[edge].source for edge in edges]
        steps.append(Step(sources, total[edges][:, None, None], terms))
    return steps


def _mixed(step: Step, before: Tensor, projected: Tensor) -> Tensor:
    """Return the mixed state (B, H) of predecessors (I, B, H), projected by W_i (I, B, 2H)."""
    gate, candidate = projected.chunk(2, dim=-1)

    def term(primitive: str, rows: Tensor | None, weights: Tensor) -> Tensor:
        activation = ACTIVATIONS[primitive]
        if rows is None:
            return weights * activation(candidate)
        part = weights * activation(candidate[rows])
        return torch.zeros_like(candidate).index_add(0, rows, part)

    # sum over f of p_f (s + σ(c)(f(h) - s)) is one highway from (sum p_f) s to sum p_f f(h)
    new = functools.reduce(operator.add, (term(*each) for each in step.terms))
    return highway(step.total * before, gate, new).sum(dim=0)


@final
class RecurrentSupernet(SupernetFactory):
    """Factory of the supernet of the recurrent space. Defaults are those of DARTS' search on PTB.

    Args:
        hidden: Number of units H of every state and of the embedding.
        dropout: Dropout probability of the cell's output, before the decoder.
        dropout_hidden: Dropout probability of every state that a weight matrix multiplies.
        dropout_input: Dropout probability of the word that the cell reads.
        dropout_embedding: Dropout probability of the embedded words, before `dropout_input`.
        steps: Number of steps of the cell.
        primitives: Candidate operations on every edge.

    Raises:
        UsageError: A size or probability is out of range, an operation is unknown or repeated, or
            there are fewer than two.
    """

    def __init__(
        self,
        hidden: int = 300,
        dropout: float = 0.75,
        dropout_hidden: float = 0.25,
        dropout_input: float = 0.75,
        dropout_embedding: float = 0.2,
        steps: int = 8,
        primitives: Sequence[str] = RECURRENT_PRIMITIVES,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.dropout_hidden = dropout_hidden
        self.dropout_input = dropout_input
        self.dropout_embedding = dropout_embedding
        self.steps = steps
        check(self, hidden=WIDTH, steps=NODES)
        check(self, **dict.fromkeys(DROPOUTS, PROBABILITY))
        self._dropouts = Dropouts(dropout, dropout_hidden, dropout_input, dropout_embedding)
        self._space = RecurrentSpace(steps, primitives)
        self.primitives = self._space.primitives

    @property
    def space(self) -> SearchSpace:
        """The recurrent space with these steps and primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> MixedLanguageModel:
        """Build the supernet for texts; needs `num_tokens`.

        Raises:
            UsageError: Partial channels, an auxiliary head or another execution is requested, or
                the data is not text.
        """
        check_one_execution(execution, "a recurrent cell")
        if k != 1:
            raise UsageError(
                f"a recurrent cell has no channels to mix a part of: K = {k}, set it to 1"
            )
        if auxiliary:
            raise UsageError("a recurrent network has no auxiliary head: set auxiliary_weight to 0")
        words = words_of(data_spec)
        return MixedLanguageModel(self.space.cells[0], words, self.hidden, self._dropouts)
