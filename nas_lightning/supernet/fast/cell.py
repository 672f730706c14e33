"""One pass through a cell by its plan."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.architecture import Cell
from nas_lightning.layers.drop_path import DropPath
from nas_lightning.supernet.fast.constants import identity, index, made_once
from nas_lightning.supernet.fast.nodes import PartialNodes, WholeNodes
from nas_lightning.supernet.fast.norms import WIDE, Part, normalized
from nas_lightning.supernet.fast.plan import Branch, Plan, Source, plan_of
from nas_lightning.supernet.fast.pools import pooled
from nas_lightning.supernet.fast.products import channels_last, mix
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import MixedEdge, reference_cell

To = Tensor | tuple[int, ...]
"""How what an operation gives comes to targets: by a matrix, or as it is, to those of these places,
channels by channels."""
SMALL = 2**15
"""Elements of a state's mixed channels up to which the inputs of a cell run together: an
operation then costs the same for one as for both."""


def fast_cell(
    cell: Cell,
    inputs: Sequence[Tensor],
    edges: nn.ModuleList,
    op_weights: Tensor,
    edge_weights: Tensor,
    active: Active | None = None,
) -> Tensor:
    """What `reference_cell` returns, to rounding, in the channels-last format.

    While drop path drops, `reference_cell` itself runs: every path has draws of its own.
    """
    drop = next((module for module in edges.modules() if isinstance(module, DropPath)), None)
    if drop is not None and drop.training and drop.dropping:
        return reference_cell(cell, inputs, edges, op_weights, edge_weights, active)
    first = cast("MixedEdge", edges[0])  # or of partial channels
    k = first.k
    # not in bfloat16: on the CPU, weight gradients of grouped dilated convolutions are NaN there
    # (oneDNN in PyTorch 2.15)
    small = inputs[0].numel() <= SMALL * k and inputs[0].dtype != torch.bfloat16
    plan = plan_of(cell, edges, active, small)
    return _Pass(cell, plan, k, inputs, op_weights, edge_weights).run()


class _Pass:
    """What a pass has come to."""

    def __init__(
        self,
        cell: Cell,
        plan: Plan,
        k: int,
        inputs: Sequence[Tensor],
        op_weights: Tensor,
        edge_weights: Tensor,
    ) -> None:
        self.cell, self.plan = cell, plan
        self.size = inputs[0].shape[1] // k
        # of the states, but at least single: batch norm takes scales of more precision
        dtype = torch.promote_types(inputs[0].dtype, torch.float32)
        weights = (op_weights * edge_weights[:, None]).to(dtype)
        self._scales, self._mixtures, skips = self._weights(weights)
        self._made = plan.kernels.made(learned=not weights.requires_grad)
        # what operations have given so far to some of the nodes to come, side by side
        self._given: dict[tuple[int, ...], Tensor] = {}
        self._nodes: WholeNodes | PartialNodes = WholeNodes(cell)
        self._shares = list(inputs)  # of the states, what operations read
        if k > 1:
            parts = [torch.split(x, [self.size, x.shape[1] - self.size], dim=1) for x in inputs]
            self._shares = [read for read, _ in parts]
            skips = skips.view(len(plan.skips), len(edge_weights)).sum(0)
            self._nodes = PartialNodes(
                cell, k, list(itertools.chain(*parts)), plan.strides[0], plan.incoming,
                edge_weights.to(dtype), skips,
            )  # fmt: skip
        self._shares = [channels_last(read) for read in self._shares]

    def run(self) -> Tensor:
        """The output of the cell."""
        for source in self.plan.sources:
            if source.states[0] == len(self._shares):
                self._add_node()
            self._leave(source)
        self._add_node()
        return self._nodes.output()

    def _add_node(self) -> None:
        node = len(self._shares)
        terms = []
        for nodes in [nodes for nodes in self._given if nodes[0] == node]:
            given = self._given.pop(nodes)
            if len(nodes) > 1:
                given, rest = torch.split(given, [self.size, given.shape[1] - self.size], dim=1)
                self._give(nodes[1:], rest)
            terms.append(given)
        terms = terms or [self._nothing(self.plan.incoming[node][0])]
        total = channels_last(functools.reduce(operator.add, terms))
        self._shares.append(self._nodes.add(total))

    def _give(self, nodes: tuple[int, ...], given: Tensor) -> None:
        before = self._given.get(nodes)
        self._given[nodes] = given if before is None else before + given

    def _weights(self, weights: Tensor) -> tuple[Iterator[Tensor], Iterator[Tensor], Tensor]:
        """Scales of the branches (n · C,), mixtures (M · S · C, n · C), skips (S · E,).

        One selection makes all of them: each by itself would cost a few kernels.

        Args:
            weights: Of operations, times those of edges (E, O).
        """
        scales, mixtures, skips = self.plan.scales, self.plan.mixtures, self.plan.skips
        order = tuple(itertools.chain(*scales, *mixtures, *skips))
        flat = weights.flatten()
        if flat.shape[0] in order:
            flat = torch.cat((flat, flat.new_zeros(1)))
        counts = [sum(map(len, chosen)) for chosen in (scales, mixtures, skips)]
        chosen = torch.split(flat.index_select(0, index(order, flat.device)), counts)
        wide = chosen[0].repeat_interleave(self.size)
        # a weight for each pair of channels: of one channel with itself
        square = chosen[1][:, None, None] * identity(self.size, flat.dtype, flat.device)
        mixing = [s for s in self.plan.sources if s.pools or s.skips]
        blocks = zip(torch.split(square, [len(m) for m in mixtures]), mixing, strict=True)
        return (
            iter(torch.split(wide, [len(scale) * self.size for scale in scales])),
            (_matrix(block, len(s.targets)) for block, s in blocks),
            chosen[2],
        )

    def _leave(self, source: Source) -> None:
        """Run what leaves a source, and give its targets their terms."""
        shares = [self._shares[s] for s in source.states]
        x = shares[0] if len(shares) == 1 else torch.cat(shares, dim=1)
        mixed: list[tuple[Tensor, Tensor]] = []
        sums: dict[tuple[int, ...], Tensor] = {}
        for value, to in self._run(source, x):
            if isinstance(to, Tensor):
                mixed.append((value, to))
            elif to in sums:
                sums[to] = _plus(sums[to], value)
            else:
                sums[to] = value
        if len(shares) > 1:
            # not by a sum over an axis, whose gradient leaves the channels-last format
            sums = {
                to[: len(to) // len(shares)]: functools.reduce(
                    operator.add, total.chunk(len(shares), dim=1)
                )
                for to, total in sums.items()
            }
        everywhere = tuple(range(len(source.targets)))
        for value, rows in mixed:
            sums[everywhere] = mix(value, rows, sums.get(everywhere))
        for to, total in sums.items():
            self._give(tuple(source.targets[i] for i in to), total)

    def _run(self, source: Source, x: Tensor) -> Iterator[tuple[Tensor, To]]:
        """What operations give, and how it comes to the targets."""
        of_pools = x.new_empty(0)
        if source.pools or source.skips:
            of_pools = next(self._mixtures)
            if source.skips:
                rest = source.skips * x.shape[1]
                of_pools, of_skips = torch.split(of_pools, [of_pools.shape[0] - rest, rest])
                yield x, of_skips
        scales = [next(self._scales) for _ in source.branches]
        rectified = x.relu() if source.branches else x
        firsts = [branch.stages[0].rectify for branch in source.branches]
        states = [rectified if first else x for first in firsts]
        for depth in range(source.depth):
            ended: list[tuple[Part, To]] = []
            if depth == 0 and source.pools:
                pools = source.pools
                part = Part(pooled([pool[0] for pool in pools], x), pools[0][1:])
                ended.append((part, of_pools))
            going: dict[int, Part] = {}
            for j, branch in enumerate(source.branches):
                if depth == len(branch.stages) - 1:
                    ended.append((self._part(branch, depth, states[j], scales[j]), branch.to))
                elif depth < len(branch.stages):
                    going[j] = self._part(branch, depth, states[j])
            alone, beside, others = normalized([part for part, _ in ended], [*going.values()])
            for j, state in zip(going, others, strict=True):
                states[j] = state
            given = [(value, to) for value, (_, to) in zip(alone, ended, strict=True)]
            yield from ((value, to) for value, to in given if value is not None)
            if beside is not None:
                ends = [to for value, to in given if value is None]
                yield beside, self._rows(ends, source, beside)

    def _part(self, branch: Branch, depth: int, state: Tensor, scale: Tensor | None = None) -> Part:
        """A stage of an operation up to its batch norm."""
        stage, follows = branch.stages[depth], branch.stages[depth + 1 :]
        for run in stage.runs:
            state = run(state, self._made)
        return Part(state, stage.norms, scale, bool(follows) and follows[0].rectify)

    def _rows(self, ends: Sequence[To], source: Source, beside: Tensor) -> Tensor:
        """The matrix to the targets of ends side by side: of pools, then of branches."""
        rows = [to for to in ends if isinstance(to, Tensor)]
        places = tuple(i for to in ends if isinstance(to, tuple) for i in to)
        height = beside.shape[1] - sum(to.shape[0] for to in rows)
        if height:
            rows.append(
                selection(
                    places, len(source.targets), self.size, height,
                    torch.promote_types(beside.dtype, torch.float32), beside.device,
                )
            )  # fmt: skip
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _nothing(self, edge: int) -> Tensor:
        """What an edge gives on which only `none` runs."""
        x, stride = self._shares[self.cell.edges[edge].source], self.plan.strides[edge]
        return torch.zeros_like(x[:, :, ::stride, ::stride])


def _plus(before: Tensor, output: Tensor) -> Tensor:
    """The sum of two outputs, in place of the first if that is no part of something larger.

    What scales an output does not read it for its gradient.
    """
    return before.add_(output) if before.shape[1] >= WIDE else before + output


@made_once
def selection(
    places: tuple[int, ...],
    targets: int,
    size: int,
    height: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The matrix (height, targets · C) that hands C channels to each place; the rest of it is 0."""
    blocks = torch.unflatten(identity(targets * size, dtype, device), 0, (targets, size))
    rows = torch.cat([blocks[i] for i in places]) if places else blocks[0, :0]
    return F.pad(rows, (0, 0, 0, height - rows.shape[0]))


def _matrix(blocks: Tensor, targets: int) -> Tensor:
    """Blocks (R · n, C, C), target by target in each row of blocks, as a matrix (R · C, n · C)."""
    rows = torch.unflatten(blocks, 0, (-1, targets))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)
