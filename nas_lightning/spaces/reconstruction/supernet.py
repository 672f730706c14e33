"""The supernet of unrolled reconstructions: every state is a weighted mean of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.ranges import NODES, WIDTH, at_least, check
from nas_lightning.spaces.reconstruction.operations import OPERATIONS, Filtering, Operation, Sizes
from nas_lightning.spaces.reconstruction.patches import spread
from nas_lightning.spaces.reconstruction.space import (
    RECONSTRUCTION_PRIMITIVES,
    ReconstructionSpace,
)
from nas_lightning.spaces.reconstruction.states import (
    SIGNALS,
    Measurement,
    Problem,
    State,
    problem_of,
)
from nas_lightning.supernet.base import (
    Supernet,
    SupernetFactory,
    check_one_execution,
)
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Active, Mixing


class Running(NamedTuple):
    """An operation that runs, from one state to another.

    Attributes:
        source: Index of the state that it reads.
        target: Index of the state that it contributes to.
        op: The operation.
        share: Share of the operation in the target state ().
    """

    source: int
    target: int
    op: Operation
    share: Tensor


class MixedReconstruction(Supernet):
    """A reconstruction whose states are mixed (DARTS, equation 2, as a mean).

    With weights w of operations and e of edges, and the output o_m(u_s) of operation m on state s:

        u_t = sum over edges l = (s, t) and operations m of e_l w_lm o_m(u_s)
              / sum over the same of e_l w_lm.

    States are signals. A sum over t edges would be about t times too large, and its data gradient
    would be that of another signal. A mean always has the scale of a signal: with equal edges, with
    edges weighted by β, and with a single edge, as in a genotype. If the w of each edge sum to one,
    as in most methods, the denominator is the sum of the e_l. `none` outputs zeros and has a share,
    so it damps the state.

    The operations are those of the discrete network, but they are computed together. One matrix
    product applies all filters that read a state. Another one spreads their responses into the
    next state; its columns are scaled by the shares.

    Args:
        cell: The cell.
        problem: The inverse problem.
        sizes: Sizes of the operations.
    """

    def __init__(self, cell: Cell, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        self.cell = cell
        self.operator = problem.operator
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: OPERATIONS[name](problem, sizes) for name in cell.primitives})
            for _ in cell.edges
        )

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Return reconstructions (B, C, *n) of measurements x (B, C, *m)."""
        kind = self.cell.kind
        shares = self.shares(mixing.ops[kind], mixing.edges[kind])
        running = self._running(shares, mixing.active.get(kind))
        states = [Measurement(self.operator, x).start()]
        seen: dict[Operation, Tensor] = {}
        for node in self.cell.nodes:
            seen |= _seen(states[-1], [r.op for r in running if r.source == node - 1])
            into = [r for r in running if r.target == node]
            states.append(states[0].then(_mixed(states, into, seen)))
        return self._with_graph(states[-1].u)

    def _with_graph(self, u: Tensor) -> Tensor:
        """Return u, with zero gradients instead of `None` if a sampled cell has no weights."""
        anchor = next(self.parameters(), None)
        return u if u.requires_grad or anchor is None else u + 0 * anchor.sum()

    def shares(self, ops: Tensor, edges: Tensor) -> Tensor:
        """Return the share of every operation in its state (E, O); shares of a state sum to one.

        Args:
            ops: Weights of the operations (E, O).
            edges: Weights of the edges (E,).
        """
        weights = ops * edges[:, None]
        # a state without edges is zero, not 0 / 0
        tiny = torch.finfo(weights.dtype).tiny
        nodes = torch.split(weights, list(self.cell.fan_in))
        return torch.cat([rows / rows.sum().clamp_min(tiny) for rows in nodes])

    def _running(self, shares: Tensor, active: Active | None) -> list[Running]:
        """Return the operations that run, in the order of their edges."""
        found = []
        for row, edge in enumerate(self.cell.edges):
            ops = self.edges[row]
            assert isinstance(ops, nn.ModuleDict)
            each = cast("Iterable[Operation]", ops.values())
            candidates = list(zip(each, shares[row].unbind(), strict=True))
            chosen = candidates if active is None else [candidates[m] for m in active[row]]
            found += [Running(edge.source, edge.target, op, share) for op, share in chosen]
        return found


def _seen(state: State, ops: Sequence[Operation]) -> dict[Operation, Tensor]:
    """Return the filter responses of operations to a state, each (F or H, B·n)."""
    alike: dict[Callable[..., Sequence[Tensor]], list[Filtering]] = {}
    for op in ops:
        if isinstance(op, Filtering):
            alike.setdefault(op.look, []).append(op)
    return {
        op: rows
        for look, group in alike.items()
        for op, rows in zip(group, look(group, state), strict=True)
    }


def _mixed(
    states: Sequence[State], into: Sequence[Running], seen: Mapping[Operation, Tensor]
) -> Tensor:
    """Return a state (B, C, *n), mixed from the operations that contribute to it."""
    mixed = torch.zeros_like(states[0].u)
    terms = [
        term
        for source, state in enumerate(states)
        for term in _terms(state, [r for r in into if r.source == source])
    ]
    if terms:
        factors, parts = zip(*terms, strict=True)
        signals = torch.stack(parts)
        mixed = torch.tensordot(torch.stack(factors).to(signals), signals, dims=1)
    if filtering := [(r.op, r.share) for r in into if isinstance(r.op, Filtering)]:
        columns = torch.cat([op.columns(share) for op, share in filtering], dim=1)
        rows = torch.cat([seen[op] for op, _ in filtering])
        mixed = mixed + spread(columns @ rows, mixed.shape)
    return mixed


def _terms(state: State, running: Sequence[Running]) -> list[tuple[Tensor, Tensor]]:
    """Return the terms without filters: pairs of a factor () and a signal (B, C, *n)."""
    taken = [r.op.factors(r.share) for r in running]
    by_signal = {name: [given[name] for given in taken if name in given] for name in SIGNALS}
    return [
        (torch.stack(factors).sum(), getattr(state, name))  # computes only signals in use
        for name, factors in by_signal.items()
        if factors
    ]


@final
class ReconstructionSupernet(SupernetFactory):
    """Factory of the supernet of unrolled reconstructions, for measurements by a known operator.

    Inspired by DARTS for inverse problems (Geiping et al., 2021); sizes and operations are ours.

    Args:
        nodes: Number of states after the initial one.
        filters: Number of filters F of a regulariser.
        channels: Number of channels H inside `residual_cnn`.
        primitives: Candidate operations on every edge.
        reach: Largest distance from a state to its predecessor; `None` means any, 1 makes a chain.

    Raises:
        UsageError: A size is not positive, an operation is unknown or repeated, or there are fewer
            than two.
    """

    replayable = True

    def __init__(
        self,
        nodes: int = 4,
        filters: int = 8,
        channels: int = 16,
        primitives: Sequence[str] = RECONSTRUCTION_PRIMITIVES,
        reach: int | None = None,
    ) -> None:
        self.nodes = nodes
        self.reach = reach
        self.filters = filters
        self.channels = channels
        check(self, nodes=NODES, reach=at_least(1))
        check(self, filters=WIDTH, channels=WIDTH)
        self._space = ReconstructionSpace(nodes, primitives, reach)
        self.primitives = self._space.primitives
        self._sizes = Sizes(filters, channels)

    @property
    def space(self) -> SearchSpace:
        """The space of reconstructions with these states and primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> MixedReconstruction:
        """Build the supernet; needs `operator`, `in_channels` and `dims`.

        Raises:
            UsageError: Partial channels, an auxiliary head or another execution is requested, or
                the data is not of an inverse problem.
        """
        check_one_execution(execution, "a reconstruction")
        if k != 1:
            raise UsageError(
                f"a reconstruction has no channels to mix a part of: K = {k}, set it to 1"
            )
        if auxiliary:
            raise UsageError("a reconstruction has no auxiliary head: set auxiliary_weight to 0")
        return MixedReconstruction(self.space.cells[0], problem_of(data_spec), self._sizes)
