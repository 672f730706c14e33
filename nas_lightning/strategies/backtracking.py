"""Backtracking of α by β (IDARTS)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.search import EDGE_RELAXATION, ArchStep, SearchStrategy

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule

SMALLEST = 1e-8
"""Differences and values of α below this are not divided by; their terms count as zero."""


@dataclass(frozen=True)
class Backtracked:
    """Result of the rule for one cell kind.

    Attributes:
        alpha: α behind backtracking (E, O).
        selected: Whether each edge was backtracked (E,).
        kappa: Size of the correction before clipping, relative to α^t: (E,) in the edge
            reading, (E, O) in the element reading.
        clipped: Whether it was clipped or dropped as not finite, same shape.
    """

    alpha: Tensor
    selected: Tensor
    kappa: Tensor
    clipped: Tensor


def threshold(epoch: int, start: int, rate: float, edges: int) -> int:
    """ζ, the number of edges that are backtracked (IDARTS, equation 14, with the running epoch).

    As printed, (14) is a constant, but the text says that ζ grows during the search, so the S in
    it must be the running epoch: floor((epoch - start) · rate · edges), within 0 and `edges`.
    """
    # the small term keeps products such as 0.7 * 10 from falling below their whole number
    zeta = math.floor((epoch - start) * rate * edges + 1e-9)
    return min(max(zeta, 0), edges)


def backtrack(
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    beta_gradient: Tensor,
    zeta: int,
    coefficient: float,
    clip: float | None = None,
    reading: Literal["edge", "element"] = "edge",
) -> Backtracked:
    """One application of IDARTS' equations 12 and 13 to the α of a cell kind.

    With ρ[l, m] = Δβ[l] / Δα[l, m] and g = d outer / dβ:

    * `edge`: γ[l] = sum over m of g[l] / α^t[l, m] · ρ[l, m], and row l becomes
      α^{t+1} + η γ[l] α^t;
    * `element`: α^{t+1}[l, m] + η g[l] ρ[l, m], which is equation 5 itself: α^t cancels.

    Only the ζ edges of smallest |β^{t+1}| change; ties go to the lower index.

    Args:
        before: α (E, O) and β (E,) before the optimizer's step.
        after: The same behind it.
        beta_gradient: g (E,).
        zeta: ζ.
        coefficient: η.
        clip: Largest |κ|, where κ is ηγ, or ηgρ in the element reading.
        reading: Which of the two.
    """
    (alpha0, beta0), (alpha1, beta1) = before, after
    delta = alpha1 - alpha0
    usable = (delta.abs() > SMALLEST) & (alpha0.abs() > SMALLEST)
    rho = torch.where(usable, (beta1 - beta0)[:, None] / delta, 0.0)
    if reading == "edge":
        gamma = torch.where(usable, beta_gradient[:, None] / alpha0 * rho, 0.0).sum(dim=1)
        kappa, scaled = coefficient * gamma, alpha0
    else:
        kappa, scaled = coefficient * beta_gradient[:, None] * rho, torch.ones_like(alpha0)
    finite = kappa.isfinite()
    bounded = torch.where(finite, kappa, 0.0)
    if clip is not None:
        bounded = bounded.clamp(-clip, clip)
    selected = torch.zeros_like(beta1, dtype=torch.bool)
    selected[beta1.abs().argsort(stable=True)[:zeta]] = True
    correction = (bounded[:, None] if reading == "edge" else bounded) * scaled
    alpha = torch.where(selected[:, None], alpha1 + correction, alpha1)
    clipped = ~finite | (bounded != kappa)
    return Backtracked(alpha, selected, kappa.abs(), clipped)


@final
class Backtracking(SearchStrategy):
    """Move the α of weakly weighted edges by the change of β (IDARTS, ICCV 2021, eqs. 5-14).

    Behind the architecture step of each batch from epoch `start` on, the ζ edges of smallest
    |β| get α ← α^{t+1} + η γ α^t. The paper's derivation does not type-check, so `reading` and
    `space` say which of its possible meanings is taken; at the published coefficient the rule
    is nearly inert (see `docs/methods/idarts.md`). Requires: edge relaxation. Hooks:
    `on_after_arch_step`. Cost: none. Adam's moments and β are not touched.

    Logged, as means over an epoch, by cell kind: `backtracking/zeta`, how often each edge was
    chosen, quantiles of |κ| over the chosen edges, the share that was clipped, and the size of
    the correction relative to the optimizer's step.

    Args:
        start: T, the epoch from which on edges are backtracked.
        rate: λ, by which ζ grows: ζ = floor((epoch - T) λ E).
        coefficient: η = η1 · η2; in the paper 6e-4 · 0.04 on CIFAR, 6e-3 · 0.04 on ImageNet.
        clip: Largest |κ| (κ = ηγ); none for no clipping. Without it, values of α near zero
            make rare but enormous jumps.
        reading: `edge` scales a whole row of α, `element` adds the term of equation 5.
        space: `logits` applies the rule to α itself, `simplex` to its softmax and takes
            logarithms back.

    Raises:
        UsageError: A negative rate or clip.
    """

    replayable = True

    requires = (EDGE_RELAXATION,)
    steps_alpha_and_beta = True

    def __init__(
        self,
        start: int = 25,
        rate: float = 0.015,
        coefficient: float = 2.4e-5,
        clip: float | None = 0.1,
        reading: Literal["edge", "element"] = "edge",
        space: Literal["logits", "simplex"] = "logits",
    ) -> None:
        if rate < 0 or (clip is not None and clip <= 0):
            raise UsageError(f"Backtracking: rate {rate} and clip {clip} must be positive")
        self.start = start
        self.rate = rate
        self.coefficient = coefficient
        self.clip = clip
        self.reading: Literal["edge", "element"] = reading
        self.space: Literal["logits", "simplex"] = space

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Apply the rule to every cell kind and log what it did."""
        for cell in module.space.cells:
            zeta = threshold(module.current_epoch, self.start, self.rate, len(cell.edges))
            module.streams.mean(module, {f"backtracking/{cell.kind}/zeta": float(zeta)})
            if zeta == 0:
                continue
            name = f"alpha.{cell.kind}"
            done = self._apply(step, cell.kind, zeta)
            step_size = (step.after[name] - step.before[name]).norm()
            ratio = (done.alpha - step.after[name]).norm() / step_size.clamp_min(1e-12)
            module.arch.alpha[cell.kind].copy_(done.alpha)
            self._log(module, cell.kind, done, ratio)

    def _apply(self, step: ArchStep, kind: str, zeta: int) -> Backtracked:
        alpha, beta = f"alpha.{kind}", f"beta.{kind}"
        alpha0, alpha1 = step.before[alpha].float(), step.after[alpha].float()
        if self.space == "simplex":
            offset = alpha1.logsumexp(dim=1, keepdim=True)
            alpha0, alpha1 = alpha0.softmax(dim=1), alpha1.softmax(dim=1)
        done = backtrack(
            (alpha0, step.before[beta].float()),
            (alpha1, step.after[beta].float()),
            step.gradients[beta].float(),
            zeta,
            self.coefficient,
            self.clip,
            self.reading,
        )
        if self.space == "logits":
            return done
        weights = done.alpha.clamp_min(1e-6)
        weights = weights / weights.sum(dim=1, keepdim=True)
        # logarithms plus the old offset: an edge that was not chosen gets its α^{t+1} back
        logits = torch.where(done.selected[:, None], weights.log() + offset, step.after[alpha])
        return Backtracked(logits, done.selected, done.kappa, done.clipped)

    def _log(self, module: SearchModule, kind: str, done: Backtracked, ratio: Tensor) -> None:
        # edges that were not chosen count as nan: to pick the others would wait for the device
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
