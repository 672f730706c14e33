"""Two-stage search: first the edges of a cell, then their operations."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from nas_lightning.architecture import Cell, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import EDGE_RELAXATION, SearchPlan, SearchStrategy
from nas_lightning.supernet import EdgeRelaxation

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


@final
class KeptEdges(EdgeRelaxation, nn.Module):
    """An edge relaxation whose edges can be fixed.

    It behaves like `inner` until then. Once edges are fixed, kept edges have weight 1 and the
    others are pruned. Buffers by cell kind (E,) contain 1 for a kept edge and 0 for a pruned one,
    and only zeros before. They are part of every checkpoint.

    Args:
        inner: Relaxation under which β is learned.
        space: Search space.
    """

    def __init__(self, inner: EdgeRelaxation, space: SearchSpace) -> None:
        super().__init__()
        self.inner = inner
        for cell in space.cells:
            self.register_buffer(_name(cell.kind), torch.zeros(len(cell.edges)))
        self.kinds = space.kinds
        # a copy on the host, which is read without waiting for the device
        self._gone: dict[str, frozenset[int]] = {}
        self.register_load_state_dict_post_hook(KeptEdges._read)  # type: ignore[no-untyped-call] # of torch

    @property
    def fixed(self) -> bool:
        """True if the edges are fixed."""
        return bool(self._gone)

    def fix(self, kept: Mapping[str, Sequence[int]]) -> None:
        """Keep only these edges, given by cell kind as indices."""
        for kind, rows in kept.items():
            self.get_buffer(_name(kind)).zero_()[list(rows)] = 1
        self._read()

    def _read(self, *_: object) -> None:
        """Read the pruned edges from the buffers."""
        kept = {kind: self.get_buffer(_name(kind)).tolist() for kind in self.kinds}
        self._gone = {
            kind: frozenset(i for i, weight in enumerate(weights) if not weight)
            for kind, weights in kept.items()
            if any(weights)
        }

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor | None:
        """Return the initial β (E,) of the inner relaxation."""
        return self.inner.initial(cell, generator)

    def weights(self, beta: Tensor | None, cell: Cell, device: torch.device) -> Tensor:
        """Return the weights of the edges (E,): learned, or 0 and 1 if edges are fixed."""
        if not self.fixed:
            return self.inner.weights(beta, cell, device)
        return self.get_buffer(_name(cell.kind))

    def pruned(self, cell: Cell) -> frozenset[int]:
        """Return the indices of the pruned edges."""
        return self._gone.get(cell.kind, frozenset())

    def project_(self, beta: Tensor, cell: Cell) -> None:
        """Project β (E,) onto its domain while it is learned."""
        if not self.fixed:
            self.inner.project_(beta, cell)


def _name(kind: str) -> str:
    return f"kept_{kind}"


@final
class TwoStage(SearchStrategy):
    """Search the edges of a cell first and their operations second (Bi et al., 2019).

    In the first stage β is learned while α keeps its initial values, so that every edge carries
    nearly the mean of its operations. Then each node keeps its `inputs_per_node` edges of largest
    weight (ties go to the lower index). In the second stage the kept edges have weight 1, the
    others do not run, β is fixed and α is learned. The genotype has exactly the kept edges, so
    discretisation removes none. The available summary of the paper only mentions two stages; their
    form is ours.

    Wraps: edge relaxation, which EdgeNormalization or ExponentiatedGradient must fill. Hooks:
    `on_train_start`, `on_train_epoch_start`. Cost: none; the second stage is cheaper, since 8 of
    14 edges run in the DARTS space. It cannot be combined with Backtracking, which moves α by the
    change of β.

    Args:
        edge_epochs: Number of epochs in the first stage.

    Raises:
        UsageError: `edge_epochs` is below 1.
    """

    requires = (EDGE_RELAXATION,)
    leaves_parameters_unused = True
    removes_edges = True

    def __init__(self, edge_epochs: int = 25) -> None:
        self.edge_epochs = edge_epochs
        check(self, edge_epochs=at_least(1))

    @property
    def alpha_from(self) -> int:
        """The first epoch of the second stage."""
        return self.edge_epochs

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the edge relaxation in one whose edges can be fixed.

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
        """Enter the stage of the epoch, also when resuming within an epoch."""
        self._enter(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the stage of the epoch."""
        self._enter(pl_module)

    def _enter(self, module: Any) -> None:
        """Fix the edges in the first epoch of the second stage; let only α or β be learned."""
        kept = next(part for part in module.arch.modules() if isinstance(part, KeptEdges))
        if module.current_epoch >= self.edge_epochs and not kept.fixed:
            kept.fix(strongest(module))
        for alpha in module.arch.alpha.values():
            alpha.requires_grad_(kept.fixed)
        for beta in module.arch.beta.values():
            beta.requires_grad_(not kept.fixed)


def strongest(module: SearchModule) -> dict[str, list[int]]:
    """Return the edges of largest weight into each node as indices, by cell kind.

    Ties go to the lower index.
    """
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
