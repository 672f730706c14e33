"""A search in two stages: all operations on few channels, then the best ones on more (DrNAS)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from nas_lightning.architecture import Cell
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import CELL_EXECUTION, PARTIAL_CHANNELS, SearchPlan, SearchStrategy
from nas_lightning.supernet import CellExecution, CellFunction, Supernet
from nas_lightning.supernet.mixing import Active
from nas_lightning.supernet.reference import PartialChannelEdge
from nas_lightning.supernet.widening import WideningEdges


@final
class ProgressiveChannels(SearchStrategy):
    """Search on 1/K of the channels, then keep the best operations and widen them (DrNAS).

    Chen et al., ICLR 2021, section 3.4. The first stage mixes 1/k of the channels. At its end each
    edge keeps the `keep` operations of the largest mixing weights (ties go to the lower index), and
    the operations are widened to 1/wide_k of the channels as in Net2WiderNet: new channels are
    copies, and all copies of a channel share the kernels that read it. The momentum of SGD is
    widened in the same way. Each stage begins with a warm-up of the weights.

    What is preserved is the function of each operation on copied channels. The function of the
    network changes, because channels that bypassed the operations now pass through them.

    Fills: partial channels. Wraps: cell execution. Alters the supernet, which holds the weights of
    both stages, and removes operations. Hooks: `allow_arch_step`, `on_train_start`,
    `on_train_epoch_start`. Cost: the second stage has fewer operations on more channels.

    Args:
        first_epochs: Number of epochs in the first stage.
        keep: Number of operations that each edge keeps.
        k: K of the first stage; 1 mixes all channels.
        wide_k: K of the second stage, at most `k`; if it is equal, nothing is widened.
        warmup: Number of epochs without architecture steps at the beginning of each stage.

    Raises:
        UsageError: A number is out of range, or `wide_k` is above `k`.
    """

    leaves_parameters_unused = True

    def __init__(
        self, first_epochs: int = 25, keep: int = 4, k: int = 6, wide_k: int = 4, warmup: int = 10
    ) -> None:
        self.first_epochs = first_epochs
        self.keep = keep
        self.k = k
        self.wide_k = wide_k
        self.warmup = warmup
        check(self, first_epochs=at_least(1), keep=at_least(1), k=at_least(1), wide_k=at_least(1))
        check(self, warmup=at_least(0))
        if wide_k > k:
            raise UsageError(
                f"ProgressiveChannels: wide_k must be at most k, which is {k}, found {wide_k}"
            )
        self._second = False  # True once the second stage has begun
        self._edges: list[WideningEdges] = []

    @property
    def alpha_from(self) -> int:
        """The first epoch after the first warm-up."""
        return self.warmup

    def configure(self, plan: SearchPlan) -> None:
        """Fill the partial channels, and let operations be removed and edges be widened.

        Raises:
            UsageError: `keep` is above the number of operations of an edge.
        """
        for cell in plan.space.cells:
            if self.keep > len(cell.primitives):
                raise UsageError(
                    f"ProgressiveChannels: keep must be at most {len(cell.primitives)}, the number "
                    f"of operations of an edge, found {self.keep}"
                )
        plan.keep_operations(None, by=self)
        if self.k == 1:
            return
        plan.fill(PARTIAL_CHANNELS, self.k, by=self)
        if self.wide_k < self.k:
            plan.alter_supernet(self.widening, by=self)
            plan.wrap(CELL_EXECUTION, _running, by=self)

    def widening(self, supernet: Supernet) -> Supernet:
        """Give each cell of a supernet its wide edges beside the narrow ones.

        Raises:
            UsageError: The supernet has no cells of partial channels, or K does not fit.
        """
        self._edges = []
        for module in list(supernet.modules()):
            edges = getattr(module, "edges", None)
            if isinstance(edges, nn.ModuleList) and isinstance(edges[0], PartialChannelEdge):
                both = WideningEdges(edges, self.wide_k)
                self._edges.append(both)
                module.edges = both
        if not self._edges:
            raise UsageError(
                f"ProgressiveChannels widens the mixed edges of cells of images, and "
                f"{type(supernet).__name__} has none: remove it"
            )
        return supernet

    def allow_arch_step(self, module: Any) -> bool:
        """Return True if the warm-up of the stage is over."""
        epoch = module.current_epoch
        return bool(epoch - (self.first_epochs if epoch >= self.first_epochs else 0) >= self.warmup)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the stage of the epoch, also when resuming at the end of an epoch."""
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enter the stage of the epoch."""
        self._enter(trainer, pl_module)

    def _enter(self, trainer: Trainer, module: Any) -> None:
        """Remove operations and widen the others in the first epoch of the second stage."""
        if self._second or trainer.current_epoch < self.first_epochs:
            return
        with torch.no_grad():
            weights = module.arch().ops
        for kind, rows in weights.items():
            module.arch.keep(kind, strongest(rows, self.keep))
        for edges in self._edges:
            edges.widen(trainer.optimizers[0].state)  # that of the weights
        self._second = True

    def state_dict(self) -> dict[str, Any]:
        """Return whether the second stage has begun."""
        return {"second": self._second}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        self._second = bool(state_dict["second"])
        for edges in self._edges:
            edges.wide_now = self._second


def strongest(weights: Tensor, count: int) -> Tensor:
    """Return a mask (E, O) of the `count` largest weights of each edge, ties by lower index."""
    order = weights.argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(weights, dtype=torch.bool)
    return mask.scatter(-1, order[:, :count], True)


def _running(execution: CellExecution) -> CellExecution:
    """Return an execution of cells that computes the edges that run."""
    return dataclasses.replace(execution, cell=EdgesThatRun(execution.cell))


@dataclasses.dataclass(frozen=True)
class EdgesThatRun:
    """A function of cells that computes the edges of the present stage.

    A class, since a search must be picklable.

    Attributes:
        function: Computes a cell of given edges.
    """

    function: CellFunction

    def __call__(
        self,
        cell: Cell,
        inputs: Sequence[Tensor],
        edges: Any,
        op_weights: Tensor,
        edge_weights: Tensor,
        active: Active | None = None,
    ) -> Tensor:
        """Return the output of the cell, see `CellFunction`."""
        now = edges.now if isinstance(edges, WideningEdges) else edges
        return self.function(cell, inputs, now, op_weights, edge_weights, active)
