"""One path per choice for the weights, two paths for α (ProxylessNAS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.ranges import at_least, check
from nas_lightning.search import (
    ARCH_GRADIENT,
    OP_RELAXATION,
    OP_SAMPLING,
    ArchGradient,
    ArchStep,
    BilevelProblem,
    SearchModule,
    SearchPlan,
    SearchStrategy,
)
from nas_lightning.supernet import OpRelaxation, Sample, SoftmaxOps, Step
from nas_lightning.supernet.draws import gumbel

if TYPE_CHECKING:
    from nas_lightning.architecture import Cell


class BinaryGateOps(OpRelaxation):
    """Samples of one operation of each edge (weight step) or of two (architecture step).

    p is the softmax of α. Validation and discretisation use p.

    Args:
        inner: Relaxation α → p; a softmax.

    Attributes:
        pairs: For each cell kind, the two operations of each edge (E, 2) in the last architecture
            step; (E, 1) if there is only one.
    """

    runs_few = True

    def __init__(self, inner: OpRelaxation) -> None:
        self.inner = inner
        self.pairs: dict[str, Tensor] = {}

    def initial(self, cell: Cell, generator: torch.Generator) -> Tensor:
        """Return the initial α (E, O) of the inner relaxation."""
        return self.inner.initial(cell, generator)

    def weights(self, alpha: Tensor) -> Tensor:
        """Return the probabilities p (E, O)."""
        return self.inner.weights(alpha)

    def sample(self, cell: Cell, alpha: Tensor, generator: torch.Generator, step: Step) -> Sample:
        """Draw one operation of each edge by p, or two without replacement.

        Weights are the gates: one for the operation that is open, zero for all others. Those of
        two operations have the gradient of their softmax (straight-through).
        """
        # the largest sums are draws by p, without replacement (Gumbel top-k)
        logits = alpha.detach().log_softmax(dim=-1)
        order = (logits + gumbel(logits, generator)).topk(min(2, alpha.shape[-1])).indices
        if step == "weight":
            gates = F.one_hot(order[:, 0], alpha.shape[-1]).to(alpha)
            return Sample(gates, tuple((m,) for m in order[:, 0].tolist()))
        pair = order.sort(dim=-1).values
        self.pairs[cell.kind] = pair
        shares = alpha.gather(-1, pair).softmax(dim=-1)
        logits = logits.gather(-1, pair)
        is_open = (logits + gumbel(logits, generator)).argmax(dim=-1)
        # in this order the difference is exactly zero, so the values are exactly one-hot
        gates = F.one_hot(is_open, pair.shape[-1]).to(alpha) + (shares - shares.detach())
        weights = torch.zeros_like(alpha).scatter(-1, pair, gates)
        return Sample(weights, tuple(tuple(operations) for operations in pair.tolist()))

    def along_pair(self, kind: str, alpha: Tensor, gradient: Tensor) -> Tensor:
        """Return the part of a gradient (E, O) that leaves all other probabilities alone.

        With shares q of the pair (i, j), it is q_j · gradient_i - q_i · gradient_j for α_i, the
        negative of it for α_j, and zero for the others: the derivative by α_i - α_j while the sum
        of p_i and p_j is constant. A gradient through the gates is already of this form.
        """
        pair = self.pairs[kind]
        if pair.shape[-1] < 2:
            return torch.zeros_like(gradient)
        shares = alpha.detach().gather(-1, pair).softmax(dim=-1)
        first, second = (shares.flip(-1) * gradient.gather(-1, pair)).unbind(dim=-1)
        slope = first - second
        return torch.zeros_like(gradient).scatter(-1, pair, torch.stack((slope, -slope), dim=-1))

    def rescaled(self, kind: str, before: Tensor, after: Tensor) -> Tensor:
        """Return α (E, O) in which only the probabilities of the pair have changed.

        Args:
            kind: The kind of the cell.
            before: α before the step.
            after: α after the step, of which only the difference between the two counts.
        """
        pair = self.pairs[kind]
        old, new = before.gather(-1, pair), after.gather(-1, pair)
        shift = old.logsumexp(dim=-1, keepdim=True) - new.logsumexp(dim=-1, keepdim=True)
        return before.scatter(-1, pair, new + shift)


@final
class BinaryGates(SearchStrategy):
    """Run one path of each choice for the weights, two for α (ProxylessNAS: Cai et al., ICLR 2019).

    p is the softmax of α. In the weight step each edge runs one operation, drawn by p. In the
    architecture step it runs two, drawn by p without replacement. One of them, drawn by their
    shares q = softmax(α_i, α_j), is open: its gate g is 1, and its output is that of the edge. The
    other has g = 0 and gets a gradient all the same, since ∂loss/∂g_j = Σ ∂loss/∂y · o_j(x):

        ∂loss/∂α_i = Σ over j of the pair of ∂loss/∂g_j · q_j · (δ_ij - q_i)

    After the optimizer's step both α are shifted by

        log(exp α_i + exp α_j) before - log(exp α_i + exp α_j) after,

    so that the probabilities of all other operations stay the same: one of the two gains what the
    other loses. α that were not drawn are left alone by momentum, weight decay and penalties too. A
    penalty acts on the difference of the two, with the derivative at constant p_i + p_j.

    The paper's optimizer of α is Adam with rate 1e-3 and betas (0, 0.999), without weight decay: a
    first moment would be that of other pairs. Fills: operation relaxation (softmax) and operation
    sampling. Wraps: architecture gradient. Hooks: `allow_arch_step`, `on_after_arch_step`. Cost:
    time and memory of one or two operations per edge instead of all. The other operations get no
    gradient in a step; under DDP, `find_unused_parameters` is set for this.

    Args:
        every: Number of batches for each architecture step; 5 in the paper.

    Raises:
        UsageError: `every` is below 1.
    """

    leaves_parameters_unused = True
    holds_alpha = "draws its pairs by α"

    def __init__(self, every: int = 1) -> None:
        self.every = every
        check(self, every=at_least(1))
        self._gates: BinaryGateOps | None = None

    def configure(self, plan: SearchPlan) -> None:
        """Fill relaxation and sampling, and wrap the architecture gradient."""
        plan.fill(OP_RELAXATION, SoftmaxOps(), by=self)
        plan.fill(OP_SAMPLING, self.sampled, by=self)
        plan.wrap(ARCH_GRADIENT, self.along_pairs, by=self)

    def sampled(self, inner: OpRelaxation) -> OpRelaxation:
        """Return a relaxation that samples by the probabilities of the inner one."""
        self._gates = BinaryGateOps(inner)
        return self._gates

    def along_pairs(self, estimate: ArchGradient) -> ArchGradient:
        """Return `estimate`, restricted to the differences of the drawn pairs."""

        def pair_gradient(problem: BilevelProblem) -> tuple[Tensor, ...]:
            found = estimate(problem)
            gates = self._gates
            assert gates is not None
            return tuple(
                gates.along_pair(name.removeprefix("alpha."), value, part)
                if name.startswith("alpha.")
                else part
                for (name, value), part in zip(problem.arch.items(), found, strict=True)
            )

        return pair_gradient

    def allow_arch_step(self, module: SearchModule) -> bool:
        """Return True in the last of every `every` batches of an epoch."""
        return (module.trainer.fit_loop.batch_idx + 1) % self.every == 0

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Restore the α that were not drawn, and shift the others."""
        gates = module.arch.ops
        assert isinstance(gates, BinaryGateOps)
        for kind, alpha in module.arch.alpha.items():
            if (before := step.before.get(f"alpha.{kind}")) is not None:
                alpha.copy_(gates.rescaled(kind, before, alpha))
