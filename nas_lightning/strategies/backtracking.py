"""Backtracking of α by β (IDARTS)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.ranges import MOST, NOT_NEGATIVE, POSITIVE, at_least, check
from nas_lightning.search import EDGE_RELAXATION, ArchStep, SearchStrategy
from nas_lightning.training.schedules import planned_epochs

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell
    from nas_lightning.search import SearchModule, SearchPlan

Reading = Literal["edge", "element", "column"]
Rank = Literal["beta", "weight", "relative_weight"]
First = Literal["smallest", "largest"]

SMALLEST = 1e-8
"""Smallest |α| and |Δα| that is used as a divisor; terms with smaller ones count as zero."""


@dataclass(frozen=True)
class Backtracked:
    """Result of the rule for one cell kind.

    Attributes:
        alpha: α after backtracking (E, O).
        selected: True for each edge that was backtracked (E,).
        kappa: Size of the correction before clipping, relative to α^t: (E,) in the edge
            reading, (E, O) in the others.
        clipped: True where the correction was clipped or, if not finite, dropped; same shape.
    """

    alpha: Tensor
    selected: Tensor
    kappa: Tensor
    clipped: Tensor


def threshold(epoch: int, start: int, rate: float, edges: int, last: int | None = None) -> int:
    """Return ζ, the number of edges that are backtracked (IDARTS, equation 14).

    Equation 14 as printed is a constant, (S - T) · rate · edges, but the text says that ζ grows
    during the search. S is then the current epoch: floor((epoch - start) · rate · edges), clipped
    to between 0 and `edges`.

    Args:
        epoch: The epoch, counted from 0.
        start: T.
        rate: λ.
        edges: Number of edges E.
        last: S, for the constant of the printed equation, from epoch T on; `None` for a ζ that
            grows.
    """
    if last is not None:
        epoch = last if epoch >= start else start
    # the small term keeps a product that rounds to just below an integer from losing one
    zeta = math.floor((epoch - start) * rate * edges + 1e-9)
    return min(max(zeta, 0), edges)


def backtrack(
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    beta_gradient: Tensor,
    zeta: int,
    coefficient: float,
    clip: float | None = None,
    reading: Reading = "edge",
    delta: Tensor | None = None,
    score: Tensor | None = None,
    first: First = "smallest",
) -> Backtracked:
    """Apply equations 12 and 13 of IDARTS once to the α of a cell kind.

    With ρ[l, m] = Δβ[l] / Δα[l, m] and g = d outer / dβ:

    * `edge`: γ[l] = sum over m of g[l] / α^t[l, m] · ρ[l, m], and row l becomes
      α^{t+1} + η γ[l] α^t;
    * `element`: α^{t+1}[l, m] + η g[l] ρ[l, m], which is equation 5 itself: α^t cancels;
    * `column`: γ[m] = sum over l of g[l] / α^t[l, m] · ρ[l, m], over all edges, and column m
      becomes α^{t+1} + η γ[m] α^t on the edges that change.

    Only ζ edges change, those of smallest or largest score; ties go to the lower index.

    Args:
        before: α (E, O) and β (E,) before the optimizer's step.
        after: α (E, O) and β (E,) after the optimizer's step.
        beta_gradient: g (E,).
        zeta: ζ.
        coefficient: η.
        clip: Largest |κ|, where κ is ηγ, or ηgρ in the element reading; `None` means no clipping.
        reading: One of the rules above.
        delta: Δα (E, O); by default the difference between the two α.
        score: Numbers (E,) by which edges are ranked; by default |β^{t+1}|.
        first: Which scores come first.
    """
    (alpha0, beta0), (alpha1, beta1) = before, after
    delta = alpha1 - alpha0 if delta is None else delta
    usable = (delta.abs() > SMALLEST) & (alpha0.abs() > SMALLEST)
    rho = torch.where(usable, (beta1 - beta0)[:, None] / delta, 0.0)
    terms = torch.where(usable, beta_gradient[:, None] / alpha0 * rho, 0.0)
    scaled = alpha0
    if reading == "edge":
        kappa = coefficient * terms.sum(dim=1)
    elif reading == "column":
        kappa = (coefficient * terms.sum(dim=0)).expand_as(alpha0)
    else:
        kappa, scaled = coefficient * beta_gradient[:, None] * rho, torch.ones_like(alpha0)
    finite = kappa.isfinite()
    bounded = torch.where(finite, kappa, 0.0)
    if clip is not None:
        bounded = bounded.clamp(-clip, clip)
    score = beta1.abs() if score is None else score
    selected = torch.zeros_like(beta1, dtype=torch.bool)
    selected[score.argsort(descending=first == "largest", stable=True)[:zeta]] = True
    correction = (bounded[:, None] if reading == "edge" else bounded) * scaled
    alpha = torch.where(selected[:, None], alpha1 + correction, alpha1)
    clipped = ~finite | (bounded != kappa)
    return Backtracked(alpha, selected, kappa.abs(), clipped)


@final
class Backtracking(SearchStrategy):
    """Move the α of weakly weighted edges by the change of β (IDARTS, ICCV 2021, eqs. 5-14).

    After the architecture step of each batch, from epoch `start` on, the ζ edges of smallest |β|
    get α ← α^{t+1} + η γ α^t. The shapes in the paper's derivation do not match, and its text
    leaves more open: `reading`, `space`, `rank`, `first`, `zeta` and `delta` each select one of its
    possible meanings. At the published coefficient the rule has almost no effect (see
    `docs/methods/idarts.md`). Requires: edge relaxation. Hooks: `on_after_arch_step`. Cost: none.
    The moments of Adam and β are not changed. Computed in the precision of α, at least 32 bits;
    the α of edges that are not chosen keep their bits.

    Logs, as means over an epoch and by cell kind: ζ (`backtracking/…/zeta`), the share of steps in
    which each edge was chosen, quantiles of |κ| over the chosen edges, the share of clipped
    corrections, and the size of the correction relative to the optimizer's step.

    Args:
        start: T, the first epoch with backtracking, counted from 0. With a negative T, ζ is above 0
            from the beginning.
        rate: λ, the growth rate in ζ = floor((epoch - T) λ E).
        coefficient: η = η1 · η2; in the paper 6e-4 · 0.04 on CIFAR, 6e-3 · 0.04 on ImageNet.
        clip: Largest |κ| (κ = ηγ); `None` means no clipping. Without clipping, values of α near
            zero cause rare but enormous jumps.
        reading: `edge` scales a whole row of α, `element` adds the term of equation 5, `column`
            scales a column of α by a sum over all edges.
        space: `logits` applies the rule to α itself, `simplex` applies it to the softmax of α and
            takes logarithms afterwards.
        rank: Edges are ranked by `beta`, |β|; by `weight`, the weight with which the supernet
            mixes the edge, a softmax over the edges into a node; or by `relative_weight`, this
            times the number of those edges, so that equal edges rank alike at every node.
        first: `smallest` corrects the lowest ranks first, `largest` the highest.
        zeta: `growing` as in the text, or `constant` as equation 14 is printed: from T on
            floor((S - T) λ E), where S is the number of epochs of the run.
        delta: Δα is the step of the `optimizer`, or that of the plain `gradient` as in equation 5,
            -η1 ∂outer/∂α, with the optimizer's learning rate η1 and without weight decay.

    Raises:
        UsageError: An argument is out of range.
    """

    logs = ("backtracking/",)
    replayable = True

    requires = (EDGE_RELAXATION,)
    steps_alpha_and_beta = True

    def __init__(
        self,
        start: int = 25,
        rate: float = 0.015,
        coefficient: float = 2.4e-5,
        clip: float | None = 0.1,
        reading: Reading = "edge",
        space: Literal["logits", "simplex"] = "logits",
        rank: Rank = "beta",
        first: First = "smallest",
        zeta: Literal["growing", "constant"] = "growing",
        delta: Literal["optimizer", "gradient"] = "optimizer",
    ) -> None:
        self.start = start
        self.rate = rate
        self.coefficient = coefficient
        self.clip = clip
        self.reading: Reading = reading
        self.space: Literal["logits", "simplex"] = space
        self.rank: Rank = rank
        self.first: First = first
        self.zeta: Literal["growing", "constant"] = zeta
        self.delta: Literal["optimizer", "gradient"] = delta
        check(
            self, start=at_least(-MOST), rate=NOT_NEGATIVE, coefficient=NOT_NEGATIVE, clip=POSITIVE
        )

    def verify(self, plan: SearchPlan) -> None:
        """Check that the edges have parameters.

        Raises:
            UsageError: The strategy that decides the weights of edges keeps them constant.
        """
        if plan[EDGE_RELAXATION].initial(plan.space.cells[0], torch.Generator()) is None:
            names = " and ".join(type(by).__name__ for by in plan.deciders(EDGE_RELAXATION))
            raise UsageError(
                f"conflicting strategies: Backtracking follows β, {names} has none; keep one of "
                f"them"
            )

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Apply the rule to every cell kind and log its effect."""
        last = planned_epochs(module.trainer) if self.zeta == "constant" else None
        for cell in module.space.cells:
            edges = len(cell.edges)
            zeta = threshold(module.current_epoch, self.start, self.rate, edges, last)
            module.streams.mean(module, {f"backtracking/{cell.kind}/zeta": float(zeta)})
            if zeta == 0:
                continue
            name = f"alpha.{cell.kind}"
            done = self._apply(module, step, cell, zeta)
            step_size = (step.after[name] - step.before[name]).norm()
            ratio = (done.alpha - step.after[name]).norm() / step_size.clamp_min(1e-12)
            module.arch.alpha[cell.kind].copy_(done.alpha)
            self._log(module, cell.kind, done, ratio)

    def _apply(self, module: SearchModule, step: ArchStep, cell: Cell, zeta: int) -> Backtracked:
        alpha, beta = f"alpha.{cell.kind}", f"beta.{cell.kind}"
        alpha0, alpha1 = _precise(step.before[alpha]), _precise(step.after[alpha])
        plain = None
        if self.delta == "gradient":
            plain = -_rate(module) * _precise(step.gradients[alpha])
        if self.space == "simplex":
            if plain is not None:
                plain = (alpha0 + plain).softmax(dim=1) - alpha0.softmax(dim=1)
            offset = alpha1.logsumexp(dim=1, keepdim=True)
            alpha0, alpha1 = alpha0.softmax(dim=1), alpha1.softmax(dim=1)
        done = backtrack(
            (alpha0, _precise(step.before[beta])),
            (alpha1, _precise(step.after[beta])),
            _precise(step.gradients[beta]),
            zeta,
            self.coefficient,
            self.clip,
            self.reading,
            plain,
            self._score(module, step.after[beta], cell),
            self.first,
        )
        if self.space == "logits":
            return done
        weights = done.alpha.clamp_min(1e-6)
        weights = weights / weights.sum(dim=1, keepdim=True)
        # the offset undoes the normalisation; an edge that was not chosen keeps its α^{t+1}
        logits = torch.where(done.selected[:, None], weights.log() + offset, step.after[alpha])
        return Backtracked(logits, done.selected, done.kappa, done.clipped)

    def _score(self, module: SearchModule, beta: Tensor, cell: Cell) -> Tensor | None:
        """Return the numbers (E,) by which edges are ranked; `None` for |β|."""
        if self.rank == "beta":
            return None
        weights = module.arch.edges.weights(_precise(beta), cell, beta.device)
        if self.rank == "weight":
            return weights
        by_node = torch.split(weights, list(cell.fan_in))
        return torch.cat([edges * len(edges) for edges in by_node])

    def _log(self, module: SearchModule, kind: str, done: Backtracked, ratio: Tensor) -> None:
        # edges that were not chosen become nan; selecting the others would wait for the device
        kappa, clipped = (
            values.reshape(len(done.alpha), -1) for values in (done.kappa, done.clipped)
        )
        chosen = done.selected[:, None].expand_as(kappa)
        kappa = kappa.nan_to_num(posinf=torch.finfo(kappa.dtype).max).where(chosen, torch.nan)
        quantiles = {"kappa_median": 0.5, "kappa_p95": 0.95, "kappa_max": 1.0}
        values = {name: kappa.nanquantile(q) for name, q in quantiles.items()}
        values["clipped"] = (clipped & chosen).sum() / chosen.sum()
        values["relative_size"] = ratio
        for edge, selected in zip(module.space.cell(kind).edges, done.selected, strict=True):
            values[f"chosen/{edge}"] = selected.float()
        prefixed = {f"backtracking/{kind}/{name}": value for name, value in values.items()}
        module.streams.mean(module, prefixed)


def _precise(value: Tensor) -> Tensor:
    """Return a tensor in its own precision, at least 32 bits."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _rate(module: SearchModule) -> float:
    """Return the learning rate of α."""
    optimizer = module.trainer.optimizers[1]
    return float(next(g["lr"] for g in optimizer.param_groups if g.get("name") == "alpha"))
