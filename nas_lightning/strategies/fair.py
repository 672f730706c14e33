"""Independent sigmoid weights instead of a softmax, discretised by a threshold (Fair DARTS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.ranges import NOT_NEGATIVE, SHARE, check
from nas_lightning.search import (
    DISCRETIZER,
    OP_RELAXATION,
    OP_SAMPLING,
    SearchPlan,
    SearchStrategy,
    no_sampling,
)
from nas_lightning.search.discretize import strongest_edges
from nas_lightning.supernet import ArchitectureParameters, Mixing, OpRelaxation

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell, SearchSpace


class SigmoidOps(OpRelaxation):
    """An independent sigmoid of every α: the operations of an edge do not compete (Fair DARTS)."""

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return zeros (E, O), so that every weight starts at one half."""
        return torch.zeros(len(cell.edges), len(cell.primitives))

    def weights(self, alpha: Tensor) -> Tensor:
        """Return weights (E, O) between 0 and 1, whose rows do not sum to one."""
        return alpha.sigmoid()


@final
class FairDARTS(SearchStrategy):
    """Weight operations by independent sigmoids, pushed towards 0 or 1 (Chu et al., ECCV 2020).

    Cells are discretised by a threshold, so a node keeps any number of inputs, perhaps none. A
    `Choice` in a network keeps its best candidate, whatever the threshold. The paper searches
    without `none`: leave it out of the supernet's primitives. Fills: operation relaxation,
    operation sampling (with no sampling, since the weights are not probabilities) and discretizer.
    Adds a penalty: -weight · mean over all α of (σ(α) - 1/2)² or of |σ(α) - 1/2|.
    Cost: none.

    Args:
        keep: `sparse` keeps the strongest edges of a node (as many as the space prescribes), each
            with its best operation. `edge` keeps every edge with its two best operations. Both
            then drop the operations below the threshold.
        threshold: Smallest σ(α) of an operation that is kept.
        weight: Weight of the penalty.
        distance: `l2` or `l1`, the first or the second penalty above.

    Raises:
        UsageError: `threshold` is not in [0, 1], or `weight` is negative.
    """

    replayable = True

    def __init__(
        self,
        keep: Literal["sparse", "edge"] = "sparse",
        threshold: float = 0.85,
        weight: float = 10.0,
        distance: Literal["l2", "l1"] = "l2",
    ) -> None:
        self.keep: Literal["sparse", "edge"] = keep
        self.threshold = threshold
        self.weight = weight
        self.distance: Literal["l2", "l1"] = distance
        check(self, threshold=SHARE, weight=NOT_NEGATIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxation, sampling and discretizer, and add the penalty."""
        plan.fill(OP_RELAXATION, SigmoidOps(), by=self)
        plan.fill(OP_SAMPLING, no_sampling, by=self)
        plan.fill(DISCRETIZER, self.above_threshold, by=self)
        plan.add_penalty(self.zero_one, by=self)

    def zero_one(self, arch: ArchitectureParameters) -> Tensor:
        """Return the penalty (), which is added to the outer loss."""
        weights = torch.cat([ops.flatten() for ops in arch().ops.values()])
        distances = (weights - 0.5).abs()
        mean = distances.mean() if self.distance == "l1" else distances.square().mean()
        return -self.weight * mean

    def above_threshold(self, space: SearchSpace, mixing: Mixing) -> Genotype:
        """Build a genotype of the operations that reach the threshold, by node, strongest first.

        The threshold applies to the weight of the operation alone. Strength is this weight times
        that of the edge, if there are edge weights. Ties go to the lower index.
        """
        if space.of_choices:
            return strongest_edges(space, mixing)
        cells = {}
        for cell in space.cells:
            ops, edges = mixing.ops[cell.kind].tolist(), mixing.edges[cell.kind].tolist()
            nodes = [self._node(space, cell, node, ops, edges) for node in cell.nodes]
            cells[cell.kind] = CellGenotype(tuple(nodes), cell.concat, cell.inputs)
        return Genotype(space, cells)

    def _node(
        self,
        space: SearchSpace,
        cell: Cell,
        node: int,
        ops: list[list[float]],
        edges: list[float],
    ) -> tuple[NodeInput, ...]:
        columns = space.candidates(cell)

        def strength(place: tuple[int, int]) -> float:
            return ops[place[0]][place[1]] * edges[place[0]]

        most = 1 if self.keep == "sparse" else 2
        best = [
            [(row, m) for m in sorted(columns, key=lambda m: -ops[row][m])[:most]]
            for row in cell.incoming(node)
        ]
        if self.keep == "sparse":
            best = sorted(best, key=lambda places: -strength(places[0]))[: space.inputs_per_node]
        kept = [(row, m) for places in best for row, m in places if ops[row][m] >= self.threshold]
        kept.sort(key=lambda place: -strength(place))
        return tuple(NodeInput(cell.primitives[m], cell.edges[row].source) for row, m in kept)
