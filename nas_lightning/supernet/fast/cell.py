"""One pass through a cell by its plan."""

from __future__ import annotations

import functools
import itertools
import operator
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.spaces import Cell
from nas_lightning.spaces.drop_path import DropPath
from nas_lightning.supernet.fast.norms import Part, normalized
from nas_lightning.supernet.fast.plan import Plan, Source, plan_of
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import MixedEdge, node_states

SMALL = 2**15
"""Elements of a state's mixed channels up to which the inputs of a cell run together: an
operation then costs the same for one as for both."""


def fast_node_states(
    cell: Cell,
    inputs: Sequence[Tensor],
    edges: nn.ModuleList,
    op_weights: Tensor,
    edge_weights: Tensor,
    active: Active | None = None,
) -> list[Tensor]:
    """What `node_states` returns, to rounding, in the channels-last format.

    While drop path drops, `node_states` itself runs: every path has draws of its own.
    """
    drop = next((module for module in edges.modules() if isinstance(module, DropPath)), None)
    if drop is not None and drop.training and drop.dropping:
        return node_states(cell, inputs, edges, op_weights, edge_weights, active)
    first = cast("MixedEdge", edges[0])  # or of partial channels
    k = first.k
    # not in bfloat16: on the CPU, weight gradients of grouped dilated convolutions are NaN there
    # (oneDNN in PyTorch 2.15)
    together = inputs[0].numel() <= SMALL * k and inputs[0].dtype != torch.bfloat16
    plan = plan_of(cell, edges, active, together)
    return _Pass(cell, plan, k, inputs, op_weights, edge_weights).states


class _Pass:
    """What a pass has come to.

    Attributes:
        states: The inputs, and the nodes so far.
    """

    def __init__(
        self,
        cell: Cell,
        plan: Plan,
        k: int,
        inputs: Sequence[Tensor],
        op_weights: Tensor,
        edge_weights: Tensor,
    ) -> None:
        self.cell, self.plan, self.k = cell, plan, k
        self.states = list(inputs)
        # of the states, but at least single: batch norm takes scales of more precision
        dtype = torch.promote_types(inputs[0].dtype, torch.float32)
        self.edge_weights = edge_weights.to(dtype)
        self.size = inputs[0].shape[1] // k
        self._shares: list[Tensor] = []  # by state, the channels that operations read
        self._bypass: list[Tensor] = []  # by state, all channels as they pass operations by
        self._terms: dict[int, list[Tensor]] = defaultdict(list)  # by node, what operations give
        self._kernels = plan.kernels.made()
        scales, mixtures = self._weights((op_weights * edge_weights[:, None]).to(dtype))
        for source in plan.sources:
            if source.states[0] == len(self.states):
                self._add_node()
            self._enter(source.states)
            self._leave(source, scales, mixtures)
        self._add_node()

    def _weights(self, weights: Tensor) -> tuple[Iterator[Tensor], Iterator[Tensor]]:
        """Scales of the branches (n · C,) and mixtures (M · S · C, n · C), in their order.

        One selection makes all of them: each by itself would cost a few kernels.

        Args:
            weights: Of operations, times those of edges (E, O).
        """
        scales, mixtures = self.plan.scales, self.plan.mixtures
        order = tuple(itertools.chain(*scales, *mixtures))
        flat = weights.flatten()
        if flat.shape[0] in order:
            flat = torch.cat((flat, flat.new_zeros(1)))
        chosen = flat.index_select(0, _index(order, flat.device))
        ours = sum(map(len, scales))
        wide = chosen[:ours].repeat_interleave(self.size)
        # a weight for each pair of channels: of one channel with itself
        square = chosen[ours:, None, None] * _identity(self.size, flat.dtype, flat.device)
        mixing = [s for s in self.plan.sources if s.pools or s.skips]
        blocks = zip(torch.split(square, [len(m) for m in mixtures]), mixing, strict=True)
        return (
            iter(torch.split(wide, [len(scale) * self.size for scale in scales])),
            (_matrix(block, len(s.edges) // len(s.states)) for block, s in blocks),
        )

    def _enter(self, states: Sequence[int]) -> None:
        """Take from states what leaves them."""
        for s in states:
            state = self.states[s]
            self._shares.append(_channels_last(state[:, : self.size]))
            if self.k > 1:
                edges = self.cell.outgoing(s)
                halved = self.plan.strides[edges[0]] == 2
                passing = _channels_last(state)
                passing = F.max_pool2d(passing, 2, 2) if halved else passing
                self._bypass.append(passing.permute(0, 2, 3, 1))

    def _leave(self, source: Source, scales: Iterator[Tensor], mixtures: Iterator[Tensor]) -> None:
        """Run what leaves a source, and give its targets their terms."""
        shares = [self._shares[s] for s in source.states]
        x = shares[0] if len(shares) == 1 else torch.cat(shares, dim=1)
        pooled, outputs = self._run(source, x, [next(scales) for _ in source.branches])
        sums: dict[tuple[int, ...], Tensor] = {}
        for branch, output in zip(source.branches, outputs, strict=True):
            before = sums.get(branch.edges)
            sums[branch.edges] = output if before is None else before + output
        if len(shares) > 1:
            sums = {
                on: torch.unflatten(total, 1, (len(shares), -1)).sum(1)
                for on, total in sums.items()
            }
        for value, rows in self._mixed(source, pooled, x, mixtures):
            sums[source.edges] = _mix(value, rows, sums.get(source.edges))
        for on, total in sums.items():
            parts = torch.split(total, self.size, dim=1)
            for i, part in zip(on[: len(parts)], parts, strict=True):
                self._terms[self.cell.edges[i].target].append(part)

    def _mixed(
        self, source: Source, pooled: Tensor, x: Tensor, mixtures: Iterator[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What operations without weights give, and the matrix that hands it to the targets."""
        if source.pools or source.skips:
            heights = [count * x.shape[1] for count in (len(source.pools), source.skips)]
            for value, rows in zip((pooled, x), torch.split(next(mixtures), heights), strict=True):
                if rows.shape[0]:
                    yield value, rows

    def _run(
        self, source: Source, x: Tensor, scales: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Outputs of pools (B, P · S · C, H', W') and, scaled, of branches (B, n · C, H', W')."""
        pooled, outputs = x, [x] * len(source.branches)
        rectified = x.relu()
        for depth in range(source.depth):
            parts = []
            if pools := source.pools if depth == 0 else []:
                parts = [Part(torch.cat([pool[0](x) for pool in pools], dim=1), pools[0][1:])]
            running = [j for j, b in enumerate(source.branches) if depth < len(b.stages)]
            for j in running:
                stages, value = source.branches[j].stages, outputs[j]
                if stages[depth].rectify:
                    value = value.relu() if depth else rectified
                for run in stages[depth].runs:
                    value = run(value, self._kernels)
                last = depth == len(stages) - 1
                parts.append(Part(value, stages[depth].norms, scales[j] if last else None))
            done = normalized(parts)
            if pools:
                pooled = done.pop(0)
            for j, value in zip(running, done, strict=True):
                outputs[j] = value
        return pooled, outputs

    def _add_node(self) -> None:
        """The next node (B, C, H, W)."""
        node = len(self.states)
        edges = self.plan.incoming[node]
        terms = self._terms.pop(node, []) or [self._nothing(edges[0])]
        state = functools.reduce(operator.add, terms)
        if self.k > 1:
            passing = torch.stack([self._bypass[self.cell.edges[i].source] for i in edges])
            weights = self.edge_weights.index_select(0, _index(tuple(edges), state.device))
            passed = weights.to(passing.dtype) @ passing.flatten(1)
            passed = passed.view(passing.shape[1:]).permute(0, 3, 1, 2)
            mixed, others = _shuffle(passed.shape[1], self.k, weights.dtype, state.device)
            state = _mix(passed, others, _mix(state, mixed))
        self.states.append(state)

    def _nothing(self, edge: int) -> Tensor:
        """What an edge gives on which only `none` runs."""
        x, stride = self._shares[self.cell.edges[edge].source], self.plan.strides[edge]
        return torch.zeros_like(x[:, :, ::stride, ::stride])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _mix(x: Tensor, weights: Tensor, add: Tensor | None = None) -> Tensor:
    """At every pixel the channels times a matrix: (B, D, H, W) of x (B, C, H, W) and (C, D)."""
    rows, weights = x.permute(0, 2, 3, 1), weights.to(x.dtype)
    if add is None:
        out = rows.flatten(0, 2) @ weights
    else:
        out = torch.addmm(add.permute(0, 2, 3, 1).flatten(0, 2), rows.flatten(0, 2), weights)
    return out.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def _matrix(blocks: Tensor, targets: int) -> Tensor:
    """Blocks (R · n, C, C), target by target in each row of blocks, as a matrix (R · C, n · C)."""
    rows = torch.unflatten(blocks, 0, (-1, targets))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)


# kept tensors must not be of inference mode: training reads them too
@functools.lru_cache(maxsize=1024)
@torch.inference_mode(False)
def _index(order: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(order, device=device, dtype=torch.int64)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _shuffle(
    channels: int, k: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Where a channel shuffle puts the mixed channels (C/K, C), and all but them (C, C).

    It is a matrix of zeros and ones, and a product with it faster than moving channels.
    """
    matrix = torch.unflatten(_identity(channels, dtype, device), 1, (k, -1))
    matrix = matrix.transpose(1, 2).flatten(1)
    others = matrix.clone()
    others[: channels // k] = 0
    return matrix[: channels // k], others
