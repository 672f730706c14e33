"""A cap on the skip connections of the derived cells (P-DARTS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import torch

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import (
    DISCRETIZER,
    Discretizer,
    SearchPlan,
    SearchStrategy,
    strongest_edges,
)
from nas_lightning.supernet import Mixing

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule

ENTRY = "skip_cap"
"""Entry of a genotype's provenance: the cells under each cap."""


@final
class SkipCap(SearchStrategy):
    """Let a cell keep at most some skip connections (P-DARTS, Chen et al., ICCV 2019, section 3.3).

    While a cell has more of them, the kept skip connection of smallest weight (operation times
    edge) gets the weight zero, and the cell is derived again. So another operation of its edge, or
    another edge of the node, takes its place. Weights stay zero from one step to the next. Of
    equal weights that of the earlier edge goes first. The search itself does not change.

    Records in the genotype's provenance the cells under each cap, from the number of inputs that a
    cell keeps down to 0 (`skip_cap`); `nas fit` prints them at its end. They are left out if
    another strategy has chosen an earlier genotype. Wraps: discretizer. Cost: none.

    A cell whose node can only be reached by skip connections keeps more than the cap allows.

    Args:
        most: Largest number of skip connections in a cell.
        kinds: Cell kinds that are capped; by default all but reduction cells, as in the paper.

    Raises:
        UsageError: `most` is negative.
    """

    replayable = True

    def __init__(self, most: int = 2, kinds: list[str] | None = None) -> None:
        self.most = most
        self.kinds = kinds
        check(self, most=at_least(0))
        self._uncapped: Discretizer = strongest_edges

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the discretizer.

        Raises:
            UsageError: A kind is unknown, a cell that is capped has no skip connection among its
                candidates, or the cells are choices.
        """
        space = plan.space
        if space.of_choices:
            raise UsageError(
                f"SkipCap counts the skip connections of a cell, but each choice of {space.name} "
                f"is a single edge: remove it"
            )
        for kind in self.kinds or ():
            if kind not in space.kinds:
                raise UsageError(
                    f"SkipCap: unknown cell {kind!r} in kinds; choose from {', '.join(space.kinds)}"
                )
        for kind in capped_kinds(space, self.kinds):
            if not any(space.is_skip(kind, name) for name in space.cell(kind).primitives):
                raise UsageError(
                    f"SkipCap: cell {kind} has no skip connection among its operations: remove it"
                )
        plan.wrap(DISCRETIZER, self._capped, by=self)

    def _capped(self, discretizer: Discretizer) -> Discretizer:
        """Return `discretizer`, followed by the cap."""

        def capped(space: SearchSpace, mixing: Mixing) -> Genotype:
            cells = dict(discretizer(space, mixing).cells)
            for kind in capped_kinds(space, self.kinds):
                *_, last = fewer_skips(discretizer, space, mixing, kind, self.most)
                cells[kind] = last.cells[kind]
            return Genotype(space, cells)

        self._uncapped = discretizer  # with the wrappers of the strategies before this one
        return capped

    def provenance(self, module: SearchModule, genotype: Genotype) -> Mapping[str, Any]:
        """Record the cells under each cap."""
        with torch.no_grad():
            mixing = module.arch()
        found = {}
        for kind in capped_kinds(module.space, self.kinds):
            steps = list(fewer_skips(self._uncapped, module.space, mixing, kind, 0))
            caps = range(sum(map(len, steps[0].cells[kind].nodes)), -1, -1)
            under = {cap: _under(steps, kind, cap) for cap in caps}
            if self.most in under and under[self.most].cells[kind] != genotype.cells[kind]:
                return {}
            found[kind] = {str(cap): _text(step, kind) for cap, step in under.items()}
        return {ENTRY: {"most": self.most, "cells": found}}


def recorded(genotype: Genotype) -> Iterator[tuple[str, str]]:
    """Yield a title and the cell under each cap that the provenance of a genotype records."""
    found = genotype.provenance.get(ENTRY)
    cells = found.get("cells") if isinstance(found, Mapping) else None
    for kind, caps in cells.items() if isinstance(cells, Mapping) else ():
        for cap, text in caps.items() if isinstance(caps, Mapping) else ():
            yield f"{kind}, at most {cap} skips", str(text)


def capped_kinds(space: SearchSpace, kinds: Sequence[str] | None) -> Sequence[str]:
    """Return the kinds of cells that are capped: those given, or all but reduction cells."""
    return [kind for kind in space.kinds if "reduce" not in kind] if kinds is None else kinds


def fewer_skips(
    discretizer: Discretizer, space: SearchSpace, mixing: Mixing, kind: str, most: int
) -> Iterator[Genotype]:
    """Yield genotypes, from that of the mixing weights to one with few skips in one kind of cell.

    Args:
        discretizer: Mixing weights → genotype.
        space: The search space.
        mixing: Mixing weights.
        kind: Kind of the cells.
        most: Number of skip connections at which it ends. It ends earlier if no other candidate is
            left.
    """
    cell = space.cell(kind)
    ops = mixing.ops[kind].detach().clone()
    while True:
        genotype = discretizer(space, replace(mixing, ops={**mixing.ops, kind: ops}))
        yield genotype
        weights = (ops.double() * mixing.edges[kind].detach().double()[:, None]).tolist()
        skips = [
            (edge, column)
            for node, inputs in zip(cell.nodes, genotype.cells[kind].nodes, strict=True)
            for edge in cell.incoming(node)
            for kept in inputs
            if kept.source == cell.edges[edge].source and space.is_skip(kind, kept.primitive)
            for column in (cell.primitives.index(kept.primitive),)
        ]
        left = [(edge, column) for edge, column in skips if weights[edge][column] > 0]
        if len(skips) <= most or not left:
            return
        ops[min(left, key=lambda place: weights[place[0]][place[1]])] = 0


def _under(steps: Sequence[Genotype], kind: str, cap: int) -> Genotype:
    """Return the first genotype with at most `cap` skips, else the last."""
    return next((step for step in steps if step.skips(kind) <= cap), steps[-1])


def _text(genotype: Genotype, kind: str) -> str:
    """Return a cell as text, `skip_connect@0 sep_conv_3x3@1 | …`, one part for each node."""
    nodes = genotype.cells[kind].nodes
    return " | ".join(" ".join(f"{i.primitive}@{i.source}" for i in node) for node in nodes)
