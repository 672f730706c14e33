"""Two-stage search: first which edges a cell keeps, then which operations they carry."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.search import EDGE_RELAXATION, SearchPlan, SearchStrategy
from nas_lightning.supernet import EdgeRelaxation

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


@final
class KeptEdges(EdgeRelaxation, nn.Module):
    """Another relaxation until edges are fixed; then a fixed edge has weight 1, others are gone.

    What was fixed stands in buffers, by cell kind (E,): 1 for a kept edge, 0 for one that is gone,
    all 0 as long as nothing is fixed. So it is part of every checkpoint.

    Args:
        inner: The relaxation under which β is learned.
        space: The search space.
    """

    def __init__(self, inner: EdgeRelaxation, space: SearchSpace) -> None:
        super().__init__()
        self.inner = inner
        for cell in space.cells:
            self.register_buffer(_name(cell.kind), torch.zeros(len(cell.edges)))
        self.kinds = space.kinds
        # a copy that is read without waiting for the device
        self._gone: dict[str, frozenset[int]] = {}
        self.register_load_state_dict_post_hook(KeptEdges._read)  # type: ignore[no-untyped-call] # of torch

    @property
    def fixed(self) -> bool:
        """Whether the edges are fixed."""
        return bool(self._gone)

    def fix(self, kept: Mapping[str, Sequence[int]]) -> None:
        """Keep these edges of each cell kind, by index, and no others."""
        for kind, rows in kept.items():
            self.get_buffer(_name(kind)).zero_()[list(rows)] = 1
        self._read()

    def _read(self, *_: object) -> None:
        """Take over what the buffers say."""
        kept = {kind: self.get_buffer(_name(kind)).tolist() for kind in self.kinds}
        self._gone = {
            kind: frozenset(i for i, weight in enumerate(weights) if not weight)
            for kind, weights in kept.items()
            if any(weights)
        }

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor | None:
        """Fresh β (E,) of the inner relaxation."""
        return self.inner.initial(cell, generator)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Weights of the edges (E,): learned, or 0 and 1."""
        if not self.fixed:
            return self.inner.weights(beta, cell, device)
        return self.get_buffer(_name(cell.kind))

    def pruned(self, cell: Cell) -> frozenset[int]:
        """The edges that are gone."""
        return self._gone.get(cell.kind, frozenset())

    def project_(self, beta: Tensor, cell: Cell) -> None:
        """Bring β (E,) back into its domain, as long as it is learned."""
        if not self.fixed:
            self.inner.project_(beta, cell)


def _name(kind: str) -> str:
    return f"kept_{kind}"


@final
class TwoStage(SearchStrategy):
    """Search edges first, operations second, so that no edge is lost at the end (Bi et al., 2019).

    In the first epochs β is learned while α stays as it was drawn: every edge carries the mean of
    its operations. Then each node keeps the `inputs_per_node` edges of largest weight (ties: the
    lower index). From there on these count fully, the others do not run, β stays, and α is
    learned. The genotype has exactly these edges: discretising them changes nothing. The summary
    at hand only says that there are two stages; this form is ours.

    Wraps: edge relaxation, which EdgeNormalization or ExponentiatedGradient must fill. Hooks:
    `on_train_start`, `on_train_epoch_start`. Cost: none; the second stage is cheaper, in the
    DARTS space 8 of 14 edges run. Does not go together with Backtracking, which moves α by the
    change of β.

    Args:
        edge_epochs: Epochs of the first stage.

    Raises:
        UsageError: Not at least one epoch.
    """

    requires = (EDGE_RELAXATION,)
    leaves_parameters_unused = True

    def __init__(self, edge_epochs: int = 25) -> None:
        if edge_epochs < 1:
            raise UsageError(f"TwoStage: edge_epochs must be at least 1, found {edge_epochs}")
        self.edge_epochs = edge_epochs

    def configure(self, plan: SearchPlan) -> None:
        """Put a switch around the edge relaxation.

        Raises:
            UsageError: The space keeps all edges, or a strategy needs α and β to move together.
        """
        if plan.space.inputs_per_node is None:
            raise UsageError(
                f"TwoStage chooses edges, but the space {plan.space.name!r} keeps all of them"
            )
        for other in plan.strategies:
            if other.steps_alpha_and_beta:
                raise UsageError(
                    f"conflicting strategies: TwoStage learns β before α, {type(other).__name__} "
                    f"moves α by the change of β; keep one of them"
                )
        plan.wrap(EDGE_RELAXATION, functools.partial(KeptEdges, space=plan.space), by=self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the stage also where a run goes on within an epoch."""
        self._enter(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the stage of the epoch."""
        self._enter(pl_module)

    def _enter(self, module: Any) -> None:
        """Fix the edges if it is time, and let just one of α and β be learned."""
        kept = next(part for part in module.arch.modules() if isinstance(part, KeptEdges))
        if module.current_epoch >= self.edge_epochs and not kept.fixed:
            kept.fix(strongest(module))
        for alpha in module.arch.alpha.values():
            alpha.requires_grad_(kept.fixed)
        for beta in module.arch.beta.values():
            beta.requires_grad_(not kept.fixed)


def strongest(module: SearchModule) -> dict[str, list[int]]:
    """By cell kind the indices of the edges of largest weight into each node; ties: the lower."""
    wanted = module.space.inputs_per_node
    with torch.no_grad():
        weights = {kind: row.tolist() for kind, row in module.arch().edges.items()}
    return {
        cell.kind: [
            edge
            for node in cell.nodes
            for edge in sorted(cell.incoming(node), key=lambda i: -weights[cell.kind][i])[:wanted]
        ]
        for cell in module.space.cells
    }
