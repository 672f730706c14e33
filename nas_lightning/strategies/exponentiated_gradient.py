"""Exponentiated gradient on the simplex (GAEA)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, check, check_value
from nas_lightning.search import (
    ARCH_OPTIMIZER,
    EDGE_RELAXATION,
    OP_RELAXATION,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.supernet import ArchitectureParameters, SimplexEdges, SimplexOps, onto_simplex


@final
class ExponentiatedGradientOptimizer(Optimizer):
    """w ← w · exp(-lr · gradient), clamped at 1e-5 and normalised (Li et al., ICLR 2021).

    This is mirror descent with the entropy as mirror map. It has no momentum and no weight decay.
    The update is computed as softmax(log w - lr · gradient), so that no learning rate and no
    gradient can overflow.

    Args:
        params: Parameters whose last dimension is a point of a simplex, or groups of them. A group
            may have `segments`: for each parameter, the lengths of the simplices that its last
            dimension consists of, or `None` for a single one.
        lr: Learning rate.

    Raises:
        UsageError: The learning rate is negative or not finite.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float = 0.1
    ) -> None:
        check_value("ExponentiatedGradientOptimizer: lr", lr, NOT_NEGATIVE)
        super().__init__(params, {"lr": lr, "segments": None})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            segments = group["segments"] or [None] * len(group["params"])
            for parameter, sizes in zip(group["params"], segments, strict=True):
                if parameter.grad is not None:
                    logits = parameter.log() - group["lr"] * parameter.grad
                    parts = torch.split(logits, sizes, dim=-1) if sizes else (logits,)
                    weights = torch.cat([part.softmax(dim=-1) for part in parts], dim=-1)
                    parameter.copy_(onto_simplex(weights, sizes))
        return loss


@final
class ExponentiatedGradient(SearchStrategy):
    """Learn α on the simplex by exponentiated gradient (GAEA, Li et al., ICLR 2021).

    α are the mixing weights themselves and start equal. Steps are multiplicative and drive the
    weights towards the corners of the simplex, so that discretisation loses less. Fills: operation
    relaxation, architecture optimizer and, with `edges`, edge relaxation. Cost: none.

    Args:
        lr: Learning rate of α.
        edges: Also give every node a simplex of edge weights β.
        edge_lr: Learning rate of β.
        entropy: Weight of the penalty, the sum over edges and operations of α log(O α), which
            pulls towards equal weights. It is 0 in the published settings of GAEA-DARTS and
            GAEA-PC-DARTS.

    Raises:
        UsageError: A learning rate or `entropy` is negative or not finite.
    """

    replayable = True
    holds_alpha = "keeps α on a simplex"

    def __init__(
        self, lr: float = 0.1, edges: bool = False, edge_lr: float = 0.1, entropy: float = 0.0
    ) -> None:
        self.lr = lr
        self.edges = edges
        self.edge_lr = edge_lr
        self.entropy = entropy
        check(self, lr=NOT_NEGATIVE, edge_lr=NOT_NEGATIVE, entropy=NOT_NEGATIVE)
        self._segments: list[list[int]] = []

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxations and optimizer, so that α and, with `edges`, β stay on the simplex."""
        self._segments = [list(cell.fan_in) for cell in plan.space.cells]
        plan.fill(OP_RELAXATION, SimplexOps(), by=self)
        if self.edges:
            plan.fill(EDGE_RELAXATION, SimplexEdges(), by=self)
        plan.fill(ARCH_OPTIMIZER, self.exponentiated_gradient, by=self)
        if self.entropy:
            plan.add_penalty(self._penalty, by=self)

    def exponentiated_gradient(self, groups: Any) -> Optimizer:
        """Build the optimizer of the parameter groups `alpha` and, if there is one, `beta`.

        Raises:
            UsageError: Another strategy gives edges weights β that are not on a simplex.
        """
        if not self.edges and any(group["name"] == "beta" for group in groups):
            raise UsageError(
                "ExponentiatedGradient learns no β of another strategy: leave EdgeNormalization "
                "out, and set edges: true for edge weights on a simplex"
            )
        own: dict[str, dict[str, Any]] = {
            "alpha": {"lr": self.lr},
            "beta": {"lr": self.edge_lr, "segments": self._segments},
        }
        return ExponentiatedGradientOptimizer([{**group, **own[group["name"]]} for group in groups])

    def _penalty(self, arch: ArchitectureParameters) -> Tensor:
        terms = [(alpha * (alpha * alpha.shape[-1]).log()).sum() for alpha in arch.alpha.values()]
        return self.entropy * torch.stack(terms).sum()
