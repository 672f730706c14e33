"""Decide the edges one by one during the search (SGAS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import CellGenotype, Genotype, NodeInput
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import (
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    SearchModule,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.strategies.edge_scores import edge_scores, normalised, stability
from nas_lightning.supernet import SoftmaxOps

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell, SearchSpace
    from nas_lightning.supernet import Mixing

FEW = 4
"""Largest number of cell kinds of which the scores of every edge are logged."""


class Decision(NamedTuple):
    """An edge that has got its operation.

    Attributes:
        epoch: Epoch, counted from 0, at whose end it was decided.
        kind: Kind of the cell.
        edge: Index of the edge.
        operation: Index of the operation.
    """

    epoch: int
    kind: str
    edge: int
    operation: int


@final
class SGAS(SearchStrategy):
    """Decide one edge after the other during the search (SGAS: Li et al., CVPR 2020).

    At the end of epoch `first_epoch` and of every `every`-th epoch after it, each kind of cell
    decides one more edge: the undecided edge of highest score keeps its best operation alone, with
    weight 1, for good. A node with `inputs_per_node` decided edges loses its other edges. Nothing
    is left to discretise at the end: the genotype has exactly the decided edges.

    With p = softmax(α) on an edge and q = p without `none`, normalised, the score is the product of

    - importance: the sum of p over all operations but `none`;
    - certainty: 1 - H(q) / log n, where H is the entropy and n the number of operations in q;
    - stability, with criterion 2 only: the mean over the last `history` epochs of the intersection
      of their q with the present one, the sum over operations of the smaller share.

    Each factor is first normalised, (x - min) / (max - min), over all edges of the kind, decided
    or not; if it is equal on all of them, it counts as 1. An edge that no longer learns keeps its
    last p. Ties go to the first edge and to the first operation. The choices of a network count as
    the edges of one kind.

    A genotype that is derived earlier has the decided edges, and the missing ones are those of
    largest importance. A space that keeps all edges decides all and removes none.

    Logs the number of decided edges (`sgas/decided`), and the scores of each edge
    (`sgas/KIND/EDGE/…`). The provenance of the genotype has them, and all decisions. Fills:
    operation relaxation (softmax), discretizer. Removes operations. Hooks: `on_train_epoch_end`,
    `provenance`. Cost: none; the search becomes cheaper with each decision.

    Args:
        criterion: 1 or 2, see above.
        first_epoch: First epoch, counted from 0, at whose end edges are decided.
        every: Number of epochs from one decision to the next.
        history: Number of epochs that criterion 2 looks back.

    Raises:
        UsageError: A number is out of range.
    """

    logs = ("sgas/",)
    leaves_parameters_unused = True

    def __init__(
        self,
        criterion: Literal[1, 2] = 1,
        first_epoch: int = 9,
        every: int = 5,
        history: int = 4,
    ) -> None:
        self.criterion: Literal[1, 2] = criterion
        self.first_epoch = first_epoch
        self.every = every
        self.history = history
        check(self, criterion=at_least(1, 2), first_epoch=at_least(0))
        check(self, every=at_least(1), history=at_least(1))
        self._closed = 0
        """Number of epochs whose end was seen."""
        self._decisions: list[Decision] = []
        # by cell kind and name of the score (E,), and the last distributions (E, O')
        self._scores: dict[str, dict[str, Tensor]] = {}
        self._earlier: dict[str, list[Tensor]] = {}

    # -- the plan ------------------------------------------------------------------------------

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxation and discretizer, and let operations be removed."""
        plan.fill(OP_RELAXATION, SoftmaxOps(), by=self)
        plan.fill(DISCRETIZER, self.decided_first, by=self)
        plan.keep_operations(None, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that no edge has a weight of its own.

        Raises:
            UsageError: A strategy weighs the edges.
        """
        for other in plan.deciders(EDGE_RELAXATION):
            raise UsageError(
                f"conflicting strategies: SGAS gives every decided edge the weight 1, "
                f"{type(other).__name__} decides the {EDGE_RELAXATION.name}; keep one of them"
            )

    # -- decisions -----------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch before, if the run stopped at its end or went back to before it."""
        assert isinstance(pl_module, SearchModule)
        if self._closed < pl_module.current_epoch:
            self._close(pl_module, pl_module.current_epoch - 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score all edges, decide if it is time to, and log."""
        assert isinstance(pl_module, SearchModule)
        if self._closed <= pl_module.current_epoch:
            self._close(pl_module, pl_module.current_epoch)
        pl_module.log_dict(dict(self._logged(pl_module.space)), rank_zero_only=True)

    def due(self, epoch: int) -> int:
        """Return the number of decisions of each kind up to the end of an epoch."""
        return 0 if epoch < self.first_epoch else (epoch - self.first_epoch) // self.every + 1

    def _close(self, module: SearchModule, epoch: int) -> None:
        """Score the edges at the end of an epoch, and take the decisions that are due."""
        space = module.space
        for cell in space.cells:
            self._measure(module, cell)
        for cells in groups(space):
            self._combine(cells)
            taken = sum(d.kind in {cell.kind for cell in cells} for d in self._decisions)
            for _ in range(self.due(epoch) - taken):
                self._decide(module, cells, epoch)
        self._closed = epoch + 1

    def _measure(self, module: SearchModule, cell: Cell) -> None:
        """Compute the scores of a cell's edges, except of those that no longer learn."""
        survivors = module.arch.survivors
        assert survivors is not None
        columns = _columns(module.space, cell)
        found = edge_scores(module.arch.alpha[cell.kind], survivors.kept(cell.kind), columns)
        scores = {"importance": found.importance, "certainty": found.certainty}
        shares, earlier = found.shares, self._earlier.setdefault(cell.kind, [])
        if before := self._scores.get(cell.kind):
            learns = torch.zeros(len(cell.edges), dtype=torch.bool)
            learns[self._learning(module.space, cell)] = True
            scores = {name: torch.where(learns, scores[name], before[name]) for name in scores}
            if earlier:
                shares = torch.where(learns[:, None], shares, earlier[-1])
        if self.criterion == 2:
            scores["stability"] = stability(shares, earlier)
            earlier.append(shares)
            del earlier[: -self.history]
        self._scores[cell.kind] = scores

    def _combine(self, cells: list[Cell]) -> None:
        """Multiply the scores of all edges of a group, normalised over them."""
        kinds = [cell.kind for cell in cells]
        joined: dict[str, Tensor] = {
            name: torch.cat([self._scores[kind][name] for kind in kinds])
            for name in self._scores[kinds[0]]
        }
        product = torch.stack([normalised(values) for values in joined.values()]).prod(dim=0)
        parts = product.split([len(cell.edges) for cell in cells])
        for kind, part in zip(kinds, parts, strict=True):
            self._scores[kind]["score"] = part.clone()

    def _decide(self, module: SearchModule, cells: list[Cell], epoch: int) -> None:
        """Decide the undecided edge of highest score, if any, and prune its node if it is full."""
        space, survivors = module.space, module.arch.survivors
        assert survivors is not None
        places = [(cell, edge) for cell in cells for edge in self._learning(space, cell)]
        if not places:
            return
        # the first of equal ones
        cell, edge = max(places, key=lambda at: float(self._scores[at[0].kind]["score"][at[1]]))
        kept = survivors.kept(cell.kind).cpu().clone()
        weights = module.arch.alpha[cell.kind].detach()[edge].tolist()
        columns = [m for m in _columns(space, cell) if kept[edge, m]]
        operation = max(columns, key=weights.__getitem__)
        self._decisions.append(Decision(epoch, cell.kind, edge, operation))
        kept[edge] = torch.arange(kept.shape[1]) == operation
        kept[self._pruned(space, cell)] = False
        module.arch.keep(cell.kind, kept)

    def _learning(self, space: SearchSpace, cell: Cell) -> list[int]:
        """Return the edges of a cell that are neither decided nor removed."""
        gone = {*self._operations(cell), *self._pruned(space, cell)}
        return [edge for edge in range(len(cell.edges)) if edge not in gone]

    def _operations(self, cell: Cell) -> dict[int, int]:
        """Return the operation of each decided edge of a cell."""
        return {d.edge: d.operation for d in self._decisions if d.kind == cell.kind}

    def _pruned(self, space: SearchSpace, cell: Cell) -> list[int]:
        """Return the edges of a cell that were removed, since their node has its edges."""
        decided = self._operations(cell)
        return [
            edge
            for node in cell.nodes
            for edge in cell.incoming(node)
            if edge not in decided
            and space.inputs_per_node is not None
            and sum(other in decided for other in cell.incoming(node)) >= space.inputs_per_node
        ]

    # -- the result ----------------------------------------------------------------------------

    def decided_first(self, space: SearchSpace, mixing: Mixing) -> Genotype:
        """Build a genotype of the decided edges; missing ones are those of largest importance.

        The inputs of a node are in the order of their edges. Ties go to the lower index.
        """
        cells = {}
        for cell in space.cells:
            rows = mixing.ops[cell.kind].tolist()
            nodes = tuple(self._node(space, cell, node, rows) for node in cell.nodes)
            cells[cell.kind] = CellGenotype(nodes, cell.concat, cell.inputs)
        return Genotype(space, cells)

    def _node(
        self, space: SearchSpace, cell: Cell, node: int, rows: list[list[float]]
    ) -> tuple[NodeInput, ...]:
        columns, decided = _columns(space, cell), self._operations(cell)

        def rank(edge: int) -> tuple[bool, float]:
            excluded = (weight for m, weight in enumerate(rows[edge]) if m not in columns)
            return edge not in decided, sum(excluded)

        pruned = self._pruned(space, cell)
        left = [edge for edge in cell.incoming(node) if edge not in pruned]
        inputs = []
        for edge in sorted(sorted(left, key=rank)[: space.inputs_per_node]):
            best = decided.get(edge, max(columns, key=rows[edge].__getitem__))
            inputs.append(NodeInput(cell.primitives[best], cell.edges[edge].source))
        return tuple(inputs)

    def provenance(self, module: SearchModule, genotype: Genotype) -> Mapping[str, Any]:
        """Return the decisions in their order, and the last scores of each edge."""
        space = module.space
        decisions = [
            {
                "epoch": d.epoch,
                "cell": d.kind,
                "edge": str(space.cell(d.kind).edges[d.edge]),
                "operation": space.cell(d.kind).primitives[d.operation],
            }
            for d in self._decisions
        ]
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for cell, edge, name, value in self._values(space):
            scores.setdefault(cell, {}).setdefault(edge, {})[name] = round(value, 6)
        return {"sgas": {"decisions": decisions, "scores": scores}}

    def _values(self, space: SearchSpace) -> Iterator[tuple[str, str, str, float]]:
        """Yield kind, edge, name and value of each score."""
        for cell in space.cells:
            for name, values in self._scores.get(cell.kind, {}).items():
                for edge, value in zip(cell.edges, values.tolist(), strict=True):
                    yield cell.kind, str(edge), name, value

    def _logged(self, space: SearchSpace) -> Iterator[tuple[str, float]]:
        yield "sgas/decided", float(len(self._decisions))
        if len(space.cells) <= FEW:
            for kind, edge, name, value in self._values(space):
                yield f"sgas/{kind}/{edge}/{name}", value

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the decisions, the scores and the last distributions."""
        return {
            "closed": self._closed,
            "decisions": [tuple(decision) for decision in self._decisions],
            "scores": {kind: dict(scores) for kind, scores in self._scores.items()},
            "earlier": {kind: list(shares) for kind, shares in self._earlier.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        self._closed = state_dict["closed"]
        self._decisions = [Decision(*decision) for decision in state_dict["decisions"]]
        self._scores = {kind: dict(scores) for kind, scores in state_dict["scores"].items()}
        self._earlier = {kind: list(shares) for kind, shares in state_dict["earlier"].items()}


def groups(space: SearchSpace) -> list[list[Cell]]:
    """Return the cells whose edges are compared: each kind by itself, choices all together."""
    return [list(space.cells)] if space.of_choices else [[cell] for cell in space.cells]


def _columns(space: SearchSpace, cell: Cell) -> list[int]:
    """Return the operations of a cell that a genotype may contain."""
    return [m for m, name in enumerate(cell.primitives) if name not in space.excluded]
