"""The supernet of unrolled reconstructions: every state is a mean of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
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
        source: The state that it reads.
        target: The state that it leads to.
        op: The operation.
        share: Its share in that state ().
    """

    source: int
    target: int
    op: Operation
    share: Tensor


class MixedReconstruction(Supernet):
    """A reconstruction whose states are mixed (DARTS, equation 2, as a mean).

    With weights w of operations and e of edges, and o_m(u_s) what operation m makes of state s:

        u_t = sum over edges l = (s, t) and operations m of e_l w_lm o_m(u_s)
              / sum over the same of e_l w_lm.

    A sum would not do here: states are signals, and a sum over t edges is about t times too
    large, so that data gradients would be those of another signal. As a mean, a state has the
    scale of a signal whether its edges count equally, by β, or one alone does, as in a genotype.
    Where the w of each edge sum to one, as in most methods, this divides by the sum of the e_l.
    `none` gives zeros and has its share: it damps.

    The operations are those of the discrete network, but they do not run one by one. All filters
    that look at a state do so in one matrix product, and what they see is spread into the next
    state by one more, whose columns are scaled by the shares.

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
        """Reconstructions (B, C, *n) of measurements x (B, C, *m)."""
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
        """The same signals; a drawn cell without weights has gradients that are zero, not none."""
        anchor = next(self.parameters(), None)
        return u if u.requires_grad or anchor is None else u + 0 * anchor.sum()

    def shares(self, ops: Tensor, edges: Tensor) -> Tensor:
        """Share of every operation in its state (E, O); those of a state sum to one.

        Args:
            ops: Weights of the operations (E, O).
            edges: Weights of the edges (E,).
        """
        weights = ops * edges[:, None]
        # a state that keeps no edge is zero, not 0 / 0
        tiny = torch.finfo(weights.dtype).tiny
        nodes = torch.split(weights, list(self.cell.fan_in))
        return torch.cat([rows / rows.sum().clamp_min(tiny) for rows in nodes])

    def _running(self, shares: Tensor, active: Active | None) -> list[Running]:
        """The operations that run, by edge."""
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
    """What the filters of operations see in a state, each (F or H, B·n)."""
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
    """A state (B, C, *n) from the operations that lead into it."""
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
    """What operations take of a state as it is: pairs of a factor () and a signal (B, C, *n)."""
    taken = [r.op.factors(r.share) for r in running]
    by_signal = {name: [given[name] for given in taken if name in given] for name in SIGNALS}
    return [
        (torch.stack(factors).sum(), getattr(state, name))  # a signal that nobody takes is not made
        for name, factors in by_signal.items()
        if factors
    ]


@final
class ReconstructionSupernet(SupernetFactory):
    """The supernet of unrolled reconstructions, for measurements of a known operator.

    Inspired by DARTS for inverse problems (Geiping et al., 2021); sizes and operations are ours.

    Args:
        nodes: States behind the initial one.
        filters: Filters F of a regulariser.
        channels: Channels H inside `residual_cnn`.
        primitives: Candidate operations on every edge.
        reach: How many states back a state may follow: none for all of them, 1 for a chain.

    Raises:
        UsageError: Sizes or primitives that make no search.
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
        for name, size in (("nodes", nodes), ("reach", reach)):
            if size is not None and size < 1:
                raise UsageError(f"{name} must be at least 1, found {size}")
        self._space = ReconstructionSpace(nodes, primitives, reach)
        self.nodes = nodes
        self.filters = filters
        self.channels = channels
        self.primitives = self._space.primitives
        self.reach = reach
        self._sizes = Sizes(filters, channels)

    @property
    def space(self) -> SearchSpace:
        """The space with these states and primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> MixedReconstruction:
        """Build it; needs `operator`, `in_channels` and `dims`.

        Raises:
            UsageError: Partial channels, an auxiliary head or another execution are asked for, or
                the data is of another kind.
        """
        check_one_execution(execution, "a reconstruction")
        if k != 1:
            raise UsageError(f"a reconstruction has no channels to mix a part of: K = {k}")
        if auxiliary:
            raise UsageError("a reconstruction has no auxiliary head: set auxiliary_weight 0")
        return MixedReconstruction(self.space.cells[0], problem_of(data_spec), self._sizes)
