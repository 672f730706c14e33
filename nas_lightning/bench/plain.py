"""A plain supernet of the DARTS space, as a baseline for the others.

It is written from the papers alone: a list of edges, a list of operations on each, two loops. With
the supernets of searches it shares operations and stems, and no other code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.layers.own import build_primitive
from nas_lightning.layers.primitives import FactorizedReduce, NormRule, relu_conv_norm
from nas_lightning.layers.stems import STEMS
from nas_lightning.spaces import DartsSupernet
from nas_lightning.supernet import CellExecution, Mixing, Supernet
from nas_lightning.supernet.base import check_one_execution


class MixedOp(nn.Module):
    """The weighted sum of all operations, on the first C/K channels (PC-DARTS, figure 1)."""

    def __init__(
        self, names: tuple[str, ...], channels: int, stride: int, norm: NormRule, k: int
    ) -> None:
        super().__init__()
        self.k, self.stride = k, stride
        self.ops = nn.ModuleList(
            build_primitive(name, channels // k, stride, norm) for name in names
        )

    def forward(self, x: Tensor, weights: Tensor, active: tuple[int, ...] | None) -> Tensor:
        """Return (B, C, H/stride, W/stride) for x (B, C, H, W) and weights (O,)."""
        share = x.shape[1] // self.k
        chosen = range(len(self.ops)) if active is None else active
        mixed = sum(weights[m] * self.ops[m](x[:, :share]) for m in chosen)
        assert isinstance(mixed, Tensor)  # at least one operation runs
        if self.k == 1:
            return mixed
        rest = x[:, share:] if self.stride == 1 else F.max_pool2d(x[:, share:], 2, 2)
        return F.channel_shuffle(torch.cat([mixed, rest], dim=1), self.k)


class PlainCell(nn.Module):
    """A cell whose edges are in the order of their targets, with all operations on each."""

    def __init__(
        self, factory: DartsSupernet, before: tuple[int, int], channels: int,
        reduction: bool, shrunk: bool, k: int,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = NormRule(affine=False, after_pool=True, running_stats=factory.running_stats)
        first = FactorizedReduce if shrunk else relu_conv_norm
        self.first = first(before[0], channels, norm)
        self.second = relu_conv_norm(before[1], channels, norm)
        self.nodes = factory.nodes
        self.edges = nn.ModuleList()
        for node in range(factory.nodes):
            for source in range(2 + node):
                stride = 2 if reduction and source < 2 else 1
                names = tuple(factory.primitives)
                self.edges.append(MixedOp(names, channels, stride, norm, k))

    def forward(self, s0: Tensor, s1: Tensor, ops: Tensor, edges: Tensor, active: Any) -> Tensor:
        """Return (B, N·C, H, W), see `SearchCell`."""
        states, index = [self.first(s0), self.second(s1)], 0
        for _ in range(self.nodes):
            total = None
            for state in states:
                runs = None if active is None else active[index]
                if runs is None or runs:
                    term = edges[index] * self.edges[index](state, ops[index], runs)
                    total = term if total is None else total + term
                index += 1
            assert total is not None  # every node keeps an edge
            states.append(total)
        return torch.cat(states[2:], dim=1)


class PlainNetwork(Supernet):
    """The supernet: stem, cells, pooling and a linear head."""

    def __init__(self, factory: DartsSupernet, spec: Mapping[str, Any], k: int) -> None:
        super().__init__()
        channels, layers = factory.channels, factory.layers
        make = STEMS[factory.stem]
        self.stem = make(
            spec["in_channels"], channels, factory.stem_multiplier, factory.running_stats
        )
        self.cells, self.kinds = nn.ModuleList(), []
        before, shrunk = self.stem.channels, self.stem.shrinks
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            channels *= 2 if reduction else 1
            self.cells.append(PlainCell(factory, before, channels, reduction, shrunk, k))
            self.kinds.append("reduce" if reduction else "normal")
            before, shrunk = (before[1], factory.nodes * channels), reduction
        self.head = nn.Linear(before[1], spec["num_classes"])

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        """Return logits (B, num_classes) for images x (B, in_channels, H, W)."""
        s0, s1 = self.stem(x)
        for kind, cell in zip(self.kinds, self.cells, strict=True):
            active = mixing.active.get(kind)
            s0, s1 = s1, cell(s0, s1, mixing.ops[kind], mixing.edges[kind], active)
        logits: Tensor = self.head(s1.mean((2, 3)))
        return logits


@final
class PlainDarts(DartsSupernet):
    """Factory of the plain supernet of the DARTS space."""

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> Any:
        """Build the supernet; see `DartsSupernet.build`.

        Raises:
            UsageError: An auxiliary head, individual cells or an execution is asked for.
        """
        check_one_execution(execution, "the plain supernet")
        if auxiliary or self.individual:
            raise UsageError("the plain supernet has no auxiliary head and no individual cells")
        return PlainNetwork(self, data_spec, k)
