"""Decide the edges one by one during the search (SGAS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import (
    DISCRETIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    Slot,
)
from nas_lightning.strategies.decisions import candidates, groups
from nas_lightning.strategies.edge_decisions import Decision, EdgeDecisions
from nas_lightning.strategies.edge_scores import edge_scores, normalised, stability
from nas_lightning.supernet import SoftmaxOps

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell, SearchSpace
    from nas_lightning.supernet import Mixing

FEW = 4
"""Largest number of cell kinds of which the scores of every edge are logged."""


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
        """Number of epochs whose ends were seen."""
        self._decisions = EdgeDecisions()
        # by cell kind: scores by name (E,), and the last distributions over operations (E, O')
        self._scores: dict[str, dict[str, Tensor]] = {}
        self._earlier: dict[str, list[Tensor]] = {}

    # -- the plan ------------------------------------------------------------------------------

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxation and discretizer, and let operations be removed."""
        plan.fill(OP_RELAXATION, SoftmaxOps(), by=self)
        plan.fill(DISCRETIZER, self.decided_first, by=self)
        plan.keep_operations(None, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that no edge has a weight of its own, and that decisions stay as they are.

        Raises:
            UsageError: A strategy weighs the edges, or changes the cells that are derived.
        """
        claims: dict[Slot[Any], str] = {
            EDGE_RELAXATION: "gives every decided edge the weight 1",
            DISCRETIZER: "leaves nothing to discretise",
        }
        for slot, claim in claims.items():
            for other in plan.deciders(slot):
                if other is not self:
                    raise UsageError(
                        f"conflicting strategies: SGAS {claim}, {type(other).__name__} decides the "
                        f"{slot.name}; keep one of them"
                    )

    def decided_first(self, space: SearchSpace, mixing: Mixing) -> Genotype:
        """Build a genotype of the decided edges; missing ones are those of largest importance."""
        return self._decisions.genotype(space, mixing)

    # -- decisions -----------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the last epoch, if the run stopped at its end or went back to before it."""
        assert isinstance(pl_module, SearchModule)
        if self._closed < pl_module.current_epoch:
            self._close(pl_module, pl_module.current_epoch - 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score all edges, take the decisions that are due, and log."""
        assert isinstance(pl_module, SearchModule)
        if self._closed <= pl_module.current_epoch:
            self._close(pl_module, pl_module.current_epoch)
        pl_module.log_dict(dict(self._logged(pl_module.space)), rank_zero_only=True)

    def due(self, epoch: int) -> int:
        """Return the number of decisions of each kind up to the end of an epoch."""
        return 0 if epoch < self.first_epoch else (epoch - self.first_epoch) // self.every + 1

    def _close(self, module: SearchModule, epoch: int) -> None:
        for cell in module.space.cells:
            self._measure(module, cell)
        for cells in groups(module.space):
            self._combine(cells)
            kinds = {cell.kind for cell in cells}
            taken = sum(decision.kind in kinds for decision in self._decisions)
            for _ in range(self.due(epoch) - taken):
                self._decide(module, cells, epoch)
        self._closed = epoch + 1

    def _measure(self, module: SearchModule, cell: Cell) -> None:
        """Compute the scores of a cell's edges, except of those that no longer learn."""
        assert module.arch.survivors is not None
        kept = module.arch.survivors.kept(cell.kind)
        found = edge_scores(module.arch.alpha[cell.kind], kept, module.space.candidates(cell))
        scores = {"importance": found.importance, "certainty": found.certainty}
        shares, earlier = found.shares, self._earlier.setdefault(cell.kind, [])
        if before := self._scores.get(cell.kind):
            learns = torch.zeros(len(cell.edges), dtype=torch.bool)
            learns[self._decisions.undecided(module.space, cell)] = True
            scores = {name: torch.where(learns, scores[name], before[name]) for name in scores}
            if earlier:
                shares = torch.where(learns[:, None], shares, earlier[-1])
        if self.criterion == 2:
            scores["stability"] = stability(shares, earlier)
            earlier.append(shares)
            del earlier[: -self.history]
        self._scores[cell.kind] = scores

    def _combine(self, cells: list[Cell]) -> None:
        """Multiply the scores of all edges of a group, each normalised over the group."""
        kinds = [cell.kind for cell in cells]
        factors = [
            normalised(torch.cat([self._scores[kind][name] for kind in kinds]))
            for name in self._scores[kinds[0]]
        ]
        product = torch.stack(factors).prod(dim=0)
        parts = torch.split(product, [len(cell.edges) for cell in cells])
        for kind, part in zip(kinds, parts, strict=True):
            self._scores[kind]["score"] = part.clone()

    def _decide(self, module: SearchModule, cells: list[Cell], epoch: int) -> None:
        """Decide the undecided edge of highest score, if any, and remove what this leaves out."""
        space, survivors = module.space, module.arch.survivors
        assert survivors is not None
        places = [(c, edge) for c in cells for edge in self._decisions.undecided(space, c)]
        if not places:
            return
        # the first of equal ones
        cell, edge = max(places, key=lambda at: float(self._scores[at[0].kind]["score"][at[1]]))
        kept = survivors.kept(cell.kind).cpu().clone()
        weights = module.arch.alpha[cell.kind].detach()[edge].tolist()
        columns = candidates(space, cell, kept[edge])
        operation = max(columns, key=weights.__getitem__)
        self._decisions.append(Decision(epoch, cell.kind, edge, operation))
        kept[edge] = torch.arange(kept.shape[1]) == operation
        kept[self._decisions.pruned(space, cell)] = False
        module.arch.keep(cell.kind, kept)

    # -- reports -------------------------------------------------------------------------------

    def provenance(self, module: SearchModule, genotype: Genotype) -> Mapping[str, Any]:
        """Return the decisions in their order, and the last scores of each edge."""
        decisions = []
        for decision in self._decisions:
            cell = module.space.cell(decision.kind)
            named = {"epoch": decision.epoch, "cell": cell.kind}
            named["edge"] = str(cell.edges[decision.edge])
            decisions.append({**named, "operation": cell.primitives[decision.operation]})
        scores: dict[str, dict[str, dict[str, float]]] = {}
        for kind, edge, name, value in self._values(module.space):
            scores.setdefault(kind, {}).setdefault(edge, {})[name] = round(value, 6)
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
        self._decisions = EdgeDecisions(Decision(*found) for found in state_dict["decisions"])
        self._scores = {kind: dict(scores) for kind, scores in state_dict["scores"].items()}
        self._earlier = {kind: list(shares) for kind, shares in state_dict["earlier"].items()}
