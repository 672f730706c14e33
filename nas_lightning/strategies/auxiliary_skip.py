"""An auxiliary identity beside the operations of every edge, which fades out (DARTS-)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import with_drop_path
from nas_lightning.layers.own import build_primitive
from nas_lightning.ranges import NOT_NEGATIVE, check
from nas_lightning.search import ARCH_STEP, SearchPlan, SearchStrategy
from nas_lightning.supernet import Mixing, Supernet
from nas_lightning.supernet.reference import MixedEdge
from nas_lightning.training.schedules import planned_epoch, planned_epochs

if TYPE_CHECKING:
    from nas_lightning.supernet.mixing import Active

SKIP = "skip_connect"
Decay = Literal["linear", "cosine", "slow_cosine"]


class WithAuxiliarySkips(Supernet):
    """A supernet whose mixed edges have one more operation in training, an identity.

    It is no operation of the search space. In training its output counts β times on every edge that
    runs; in evaluation it does not run.

    Args:
        supernet: The supernet. An identity is added to each of its mixed edges; on those that halve
            the image it is a `FactorizedReduce` without scale and shift.

    Attributes:
        beta: β (), changed in place.
    """

    beta: Tensor

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet
        edges = [module for module in supernet.modules() if isinstance(module, MixedEdge)]
        if not edges:
            raise UsageError(
                f"AuxiliarySkip adds an identity to the mixed edges of cells of images, and "
                f"{type(supernet).__name__} has none: remove it"
            )
        for edge in edges:
            norm = replace(edge.norm, affine=False)
            skip = build_primitive(SKIP, edge.channels, edge.stride, norm)
            edge.ops.append(with_drop_path(SKIP, skip, edge.stride))
        # derived from the epoch, so no part of a checkpoint
        self.register_buffer("beta", torch.zeros(()), persistent=False)

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """Number of cells by kind, of the supernet inside."""
        return self.supernet.cell_counts

    def forward(self, x: Any, mixing: Mixing) -> Any:
        """Return the output of the supernet."""
        return self.supernet(x, self.extended(mixing))

    def with_auxiliary(self, x: Any, mixing: Mixing) -> tuple[Any, Any]:
        """Return the output of the supernet, and that of an auxiliary head or `None`."""
        return self.supernet.with_auxiliary(x, self.extended(mixing))

    def extended(self, mixing: Mixing) -> Mixing:
        """Return mixing weights with a column for the identity: β in training, else 0."""
        ops, active, own = {}, {}, {}
        for kind, weights in mixing.ops.items():
            edges, number = weights.shape
            ops[kind] = self._wider(weights)
            if kind in mixing.own:
                own[kind] = tuple(self._wider(each) for each in mixing.own[kind])
            runs = mixing.active.get(kind)
            if not self.training:
                active[kind] = runs or (tuple(range(number)),) * edges
            elif runs is not None:
                active[kind] = _beside(runs, number)
        return Mixing(ops, mixing.edges, active, own)

    def _wider(self, weights: Tensor) -> Tensor:
        """Return weights of operations (E, O) with the column of the identity (E, O + 1)."""
        column = self.beta.to(weights) if self.training else weights.new_zeros(())
        return torch.cat((weights, column.expand(len(weights), 1)), dim=1)


def _beside(runs: Active, operation: int) -> Active:
    """Return the operations that run, and one more on each edge that runs."""
    return tuple((*row, operation) if row else () for row in runs)


def faded(decay: Decay, done: float) -> float:
    """Return the factor of β after a share `done` of the run: 1 at the start, 0 at the end."""
    if done >= 1:
        return 0.0
    if decay == "linear":
        return 1 - done
    if decay == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return math.cos(math.pi / 2 * done)


@final
class AuxiliarySkip(SearchStrategy):
    """Add β · x to the output of every mixed edge (DARTS-: Chu et al., ICLR 2021).

    A skip connection eases the training of the other operations, and α of `skip_connect` grows for
    that reason. The auxiliary identity eases it instead, outside of α. β falls to 0 in the last
    epoch, so that the supernet is an ordinary one at the end. On edges that halve the image the
    identity is a `FactorizedReduce` without scale and shift. It takes part in the weight and the
    architecture step; validation and the one-shot test run without it. Edge weights scale it like
    the operations of the edge, and with partial channels it is added to the mixed channels.

    Alters: supernet. Cost: an addition on every edge, and two strided convolutions on those that
    halve the image.

    Args:
        beta: β in the first epoch; 0 changes nothing.
        decay: How β falls: `linear`, `cosine` (β/2 · (1 + cos πs)) or `slow_cosine`
            (β · cos (πs/2)), with s from 0 in the first epoch to 1 in the last.

    Raises:
        UsageError: `beta` is negative.
    """

    replayable = True

    def __init__(self, beta: float = 1.0, decay: Decay = "linear") -> None:
        self.beta = beta
        self.decay: Decay = decay
        check(self, beta=NOT_NEGATIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Let the supernet have the identities when it has been built."""
        if self.beta:
            plan.alter_supernet(WithAuxiliarySkips, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that no strategy computes the cells of the supernet itself.

        Raises:
            UsageError: A strategy has an architecture step of its own.
        """
        for other in plan.deciders(ARCH_STEP):
            raise UsageError(
                f"conflicting strategies: AuxiliarySkip alters the supernet, "
                f"{type(other).__name__} reads the cells of an ordinary one; keep one of them"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set β, since a run resumed within an epoch skips the start of that epoch."""
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set β, which depends on the epoch alone."""
        self._enter(trainer, pl_module)

    def _enter(self, trainer: Trainer, module: Any) -> None:
        done = min(1, planned_epoch(trainer) / max(1, planned_epochs(trainer) - 1))
        for part in module.supernet.modules():
            if isinstance(part, WithAuxiliarySkips):
                part.beta.fill_(self.beta * faded(self.decay, done))
