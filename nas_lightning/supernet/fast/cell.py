"""The fast cell: one pass through a cell, following its program."""

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
from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.cpu.pools import pooled
from nas_lightning.supernet.fast.nodes import PartialNodes, WholeNodes
from nas_lightning.supernet.fast.norms import NormInput, normalized
from nas_lightning.supernet.fast.products import channels_last, mix
from nas_lightning.supernet.fast.program import Branch, Program, Source, program_of
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import MixedEdge, reference_cell

Route = Tensor | tuple[int, ...]
"""The way from an output of operations to the targets of a source. A matrix mixes the output into
the channels of all targets. A tuple has, for each block of C channels of the output, the index of
the target that the block is added to."""


def fast_cell(
    cell: Cell,
    inputs: Sequence[Tensor],
    edges: nn.ModuleList,
    op_weights: Tensor,
    edge_weights: Tensor,
    active: Active | None = None,
) -> Tensor:
    """Compute `reference_cell` up to rounding; the output is in the channels-last format.

    `reference_cell` itself runs while drop path is active, because every path draws its own mask.
    """
    drop = next((module for module in edges.modules() if isinstance(module, DropPath)), None)
    if drop is not None and drop.training and drop.dropping:
        return reference_cell(cell, inputs, edges, op_weights, edge_weights, active)
    first = cast("MixedEdge", edges[0])  # or PartialChannelEdge
    k = first.k
    # not in bfloat16: there, weight gradients of grouped dilated convolutions are NaN on the CPU
    # (oneDNN in PyTorch 2.15)
    few = inputs[0].numel() <= thresholds.SMALL_STATE * k
    small = few and inputs[0].dtype != torch.bfloat16
    program = program_of(cell, edges, active, small)
    return _Pass(cell, program, k, inputs, op_weights, edge_weights).run()


class _Pass:
    """A pass through a cell, and its intermediate results."""

    def __init__(
        self,
        cell: Cell,
        program: Program,
        k: int,
        inputs: Sequence[Tensor],
        op_weights: Tensor,
        edge_weights: Tensor,
    ) -> None:
        self.cell, self.program = cell, program
        self.size = inputs[0].shape[1] // k
        # the type of the states, at least float32: batch norm accepts scales of higher precision
        dtype = torch.promote_types(inputs[0].dtype, torch.float32)
        weights = (op_weights * edge_weights[:, None]).to(dtype)
        self._scales, self._mixtures, skips = self._weights(weights)
        self._kernels = program.kernels.gather(learned=not weights.requires_grad)
        # by nodes: the sum so far of the operations' outputs at these nodes, side by side
        self._sums: dict[tuple[int, ...], Tensor] = {}
        self._nodes: WholeNodes | PartialNodes = WholeNodes(cell)
        self._shares = list(inputs)  # the channels of each state that operations read
        if k > 1:
            pairs = [torch.split(x, [self.size, x.shape[1] - self.size], dim=1) for x in inputs]
            self._shares = [read for read, _ in pairs]
            skips = skips.view(len(program.skips), len(edge_weights)).sum(0)
            self._nodes = PartialNodes(
                cell, k, list(itertools.chain(*pairs)), program.strides[0], program.incoming,
                edge_weights.to(dtype), skips,
            )  # fmt: skip
        self._shares = [channels_last(read) for read in self._shares]

    def run(self) -> Tensor:
        """Return the output of the cell."""
        for source in self.program.sources:
            if source.states[0] == len(self._shares):
                self._add_node()
            self._run_source(source)
        self._add_node()
        return self._nodes.output()

    def _add_node(self) -> None:
        node = len(self._shares)
        terms = []
        for nodes in [nodes for nodes in self._sums if nodes[0] == node]:
            term = self._sums.pop(nodes)
            if len(nodes) > 1:
                term, rest = torch.split(term, [self.size, term.shape[1] - self.size], dim=1)
                self._add(nodes[1:], rest)
            terms.append(term)
        terms = terms or [self._zeros(self.program.incoming[node][0])]
        total = channels_last(functools.reduce(operator.add, terms))
        self._shares.append(self._nodes.add(total))

    def _add(self, nodes: tuple[int, ...], term: Tensor) -> None:
        before = self._sums.get(nodes)
        self._sums[nodes] = term if before is None else before + term

    def _weights(self, weights: Tensor) -> tuple[Iterator[Tensor], Iterator[Tensor], Tensor]:
        """Select the weights that each source needs.

        A single selection serves all of them. One for each would take several kernels each.

        Args:
            weights: Weights of operations times weights of edges (E, O).

        Returns:
            The scale of each branch (n · C,), the matrix of each source that has pools or skips
            (M · S · C, n · C), and the weights of skips (S · E,).
        """
        program = self.program
        scales, mixtures, skips = program.scales, program.mixtures, program.skips
        order = tuple(itertools.chain(*scales, *mixtures, *skips))
        flat = weights.flatten()
        if flat.shape[0] in order:
            flat = torch.cat((flat, flat.new_zeros(1)))
        counts = [sum(map(len, chosen)) for chosen in (scales, mixtures, skips)]
        chosen = torch.split(flat.index_select(0, index(order, flat.device)), counts)
        wide = chosen[0].repeat_interleave(self.size)
        # each weight as a diagonal matrix over the channels
        square = chosen[1][:, None, None] * identity(self.size, flat.dtype, flat.device)
        mixing = [s for s in program.sources if s.pools or s.skips]
        blocks = zip(torch.split(square, [len(m) for m in mixtures]), mixing, strict=True)
        return (
            iter(torch.split(wide, [len(scale) * self.size for scale in scales])),
            (_matrix(block, len(s.targets)) for block, s in blocks),
            chosen[2],
        )

    def _run_source(self, source: Source) -> None:
        """Run the operations of a source and add their outputs to its targets."""
        shares = [self._shares[s] for s in source.states]
        x = shares[0] if len(shares) == 1 else torch.cat(shares, dim=1)
        mixed: list[tuple[Tensor, Tensor]] = []
        sums: dict[tuple[int, ...], Tensor] = {}
        for value, route in self._outputs(source, x):
            if isinstance(route, Tensor):
                mixed.append((value, route))
            elif route in sums:
                sums[route] = _plus(sums[route], value)
            else:
                sums[route] = value
        if len(shares) > 1:
            # the gradient of a sum over an axis would not be in the channels-last format
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
            self._add(tuple(source.targets[i] for i in to), total)

    def _outputs(self, source: Source, x: Tensor) -> Iterator[tuple[Tensor, Route]]:
        """Yield outputs of operations with their routes to the targets."""
        pool_rows = x.new_empty(0)
        if source.pools or source.skips:
            pool_rows = next(self._mixtures)
            if source.skips:
                rest = source.skips * x.shape[1]
                pool_rows, skip_rows = torch.split(pool_rows, [pool_rows.shape[0] - rest, rest])
                yield x, _added(skip_rows, source.skips)
        scales = [next(self._scales) for _ in source.branches]
        rectified = x.relu() if source.branches else x
        rectifies = [branch.segments[0].rectify for branch in source.branches]
        states = [rectified if rectify else x for rectify in rectifies]
        for depth in range(source.depth):
            last: list[tuple[NormInput, Route]] = []
            if depth == 0 and source.pools:
                pools = source.pools
                outputs = NormInput(pooled([pool[0] for pool in pools], x), pools[0][1:])
                last.append((outputs, pool_rows))
            inner: dict[int, NormInput] = {}
            for j, branch in enumerate(source.branches):
                if depth == len(branch.segments) - 1:
                    last.append((self._segment(branch, depth, states[j], scales[j]), branch.to))
                elif depth < len(branch.segments):
                    inner[j] = self._segment(branch, depth, states[j])
            alone, beside, others = normalized([given for given, _ in last], [*inner.values()])
            for j, state in zip(inner, others, strict=True):
                states[j] = state
            values = [(value, route) for value, (_, route) in zip(alone, last, strict=True)]
            yield from ((value, route) for value, route in values if value is not None)
            if beside is not None:
                routes = [route for value, route in values if value is None]
                yield beside, self._rows(routes, source, beside)

    def _segment(
        self, branch: Branch, depth: int, state: Tensor, scale: Tensor | None = None
    ) -> NormInput:
        """Run a segment of an operation up to its batch norm."""
        segment, following = branch.segments[depth], branch.segments[depth + 1 :]
        for run in segment.runs:
            state = run(state, self._kernels)
        return NormInput(state, segment.norms, scale, bool(following) and following[0].rectify)

    def _rows(self, routes: Sequence[Route], source: Source, beside: Tensor) -> Tensor:
        """Merge the routes of outputs that are side by side, first pools, into one matrix."""
        rows = [route for route in routes if isinstance(route, Tensor)]
        places = tuple(i for route in routes if isinstance(route, tuple) for i in route)
        height = beside.shape[1] - sum(matrix.shape[0] for matrix in rows)
        if height:
            rows.append(
                selection(
                    places, len(source.targets), self.size, height,
                    torch.promote_types(beside.dtype, torch.float32), beside.device,
                )
            )  # fmt: skip
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _zeros(self, edge: int) -> Tensor:
        """Return the output of an edge on which only `none` runs."""
        x, stride = self._shares[self.cell.edges[edge].source], self.program.strides[edge]
        return torch.zeros_like(x[:, :, ::stride, ::stride])


def _plus(before: Tensor, output: Tensor) -> Tensor:
    """Add two outputs, in place unless the first may be a view of a larger tensor.

    In place is safe: the scale of a batch norm does not read the result for its gradient.
    """
    return before.add_(output) if before.shape[1] >= thresholds.NORM_WIDTH else before + output


@made_once
def selection(
    places: tuple[int, ...],
    targets: int,
    size: int,
    height: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Make a matrix that copies the ith block of C channels to the target `places[i]`.

    Args:
        places: A target for each block of channels.
        targets: Number of targets.
        size: C.
        height: Number of rows; those after the last block are 0.
        dtype: Type of the matrix.
        device: Device of the matrix.

    Returns:
        (height, targets · C).
    """
    blocks = torch.unflatten(identity(targets * size, dtype, device), 0, (targets, size))
    rows = torch.cat([blocks[i] for i in places]) if places else blocks[0, :0]
    return F.pad(rows, (0, 0, 0, height - rows.shape[0]))


def _added(rows: Tensor, operations: int) -> Tensor:
    """Add the matrices (R, n · C) of operations that read and pass on the same state.

    Args:
        rows: All of them (operations · R, n · C).
        operations: Number of operations.
    """
    return rows if operations == 1 else torch.unflatten(rows, 0, (operations, -1)).sum(dim=0)


def _matrix(blocks: Tensor, targets: int) -> Tensor:
    """Join blocks (R · n, C, C), n targets to a row of blocks, into a matrix (R · C, n · C)."""
    rows = torch.unflatten(blocks, 0, (-1, targets))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)
