"""Stop training operations whose weights overfit the weight half (OLES)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, final

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.distributed import mean_over_ranks
from nas_lightning.errors import UsageError
from nas_lightning.ranges import Range, at_least, check
from nas_lightning.search import (
    ARCH_GRADIENT,
    OUTER_BATCH,
    STEP_ORDER,
    ArchGradient,
    BilevelProblem,
    SearchModule,
    SearchPlan,
    SearchStrategy,
    first_order,
)
from nas_lightning.search.bilevel import frozen
from nas_lightning.strategies.gradient_cosines import (
    GradientCosines,
    Reading,
    Stacked,
    clip_factor,
    gradient,
)
from nas_lightning.supernet import Supernet
from nas_lightning.supernet.operations import OwnWeights, own_weights

OFF = -1.0
"""A threshold below which no mean cosine lies."""
SKIP = "skip_connect"


@final
class OLES(SearchStrategy):
    """Stop training the weights of operations that overfit (OLES: Jiang et al., NeurIPS 2023).

    g_T is the gradient of the inner loss by the weights of one operation on one edge of one cell,
    and g_V that of the outer loss, in the same batch. When an operation has had `count` comparisons
    of the two, its mean cosine is taken. Below `threshold` its weights are frozen for the rest of
    the search. It still runs and is mixed, and α still learns. Otherwise the next comparisons
    begin.

    The cosine is, by `reading`,

    - `code`: that of the released code, between g_T and g_T + g_V. It is 0.7 for orthogonal
      gradients of equal length, and small if g_V is much longer than g_T. It is taken of each
      column of a weight, see `GradientCosines.code`, and g_T is clipped as in the weight step;
    - `paper`: cos(g_T, g_V) of all weights of the operation as one vector, which is 0 for
      orthogonal gradients.

    Everything that the optimizer steps is frozen, scale and shift of batch norms included. Momentum
    and weight decay leave it alone too. Running statistics go on. `skip_connect` is never frozen,
    also where it has weights. Only batches with an architecture step are compared. With
    `WeightsFirst` g_V is taken one weight step after g_T.

    Logs the number of frozen operations (`oles/frozen`), and the mean of the cosines that were
    taken in an epoch (`oles/cosine`). The provenance of the genotype lists what was frozen and
    when. Wraps: architecture gradient. Hooks: `on_weight_gradients`, `provenance`. Cost: the
    gradient by the weights in the architecture step if that is of first order, and one more forward
    and backward pass otherwise.

    Args:
        threshold: Mean cosine below which an operation is frozen; -1 changes nothing.
        count: Number of comparisons of which the mean is taken.
        reading: What is compared; the published results and their threshold are those of `code`.

    Raises:
        UsageError: A number is out of range.
    """

    logs = ("oles/",)
    leaves_parameters_unused = True

    def __init__(self, threshold: float = 0.4, count: int = 20, reading: Reading = "code") -> None:
        self.threshold = threshold
        self.count = count
        self.reading: Reading = reading
        check(self, threshold=Range(OFF, 1), count=at_least(1))
        self._operations: list[OwnWeights] = []
        self._weights_first = False
        # by the index of an operation, the epoch in which it was frozen
        self._frozen: dict[int, int] = {}
        # of the others: sum and number of their cosines (2, n), and the batches with comparisons
        self._tally: Tensor | None = None
        self._batches = 0
        self._cosines: GradientCosines | None = None
        # of a batch
        self._epoch = 0
        self._train: Stacked | None = None
        self._validation: Stacked | None = None
        self._mean: float | None = None

    # -- the plan ------------------------------------------------------------------------------

    def configure(self, plan: SearchPlan) -> None:
        """Wrap the architecture gradient."""
        if self.threshold > OFF:
            plan.check_supernet(functools.partial(self._find, plan.space), by=self)
            plan.wrap(ARCH_GRADIENT, self.watched, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Check that the two gradients are of different data.

        Raises:
            UsageError: Both losses are computed on one half of the data.
        """
        self._weights_first = plan[STEP_ORDER] == "weights first"
        if self.threshold > OFF and plan[OUTER_BATCH] == "train":
            (other,) = plan.deciders(OUTER_BATCH)
            raise UsageError(
                f"conflicting strategies: OLES compares the gradients of two halves of the data, "
                f"{type(other).__name__} takes both of one; keep one of them"
            )

    def _find(self, space: SearchSpace, supernet: Supernet) -> None:
        """Find the operations whose weights can be frozen.

        Raises:
            UsageError: There is none.
        """
        found = own_weights(supernet, space)
        self._operations = [each for each in found if each.operation != SKIP]
        if not self._operations:
            raise UsageError(
                f"OLES freezes the weights of operations, and no operation of the space "
                f"{space.name} has any: remove it"
            )

    # -- comparisons ---------------------------------------------------------------------------

    def watched(self, estimate: ArchGradient) -> ArchGradient:
        """Return `estimate`, which also keeps the first g_V of a batch."""

        def watched_gradient(problem: BilevelProblem) -> tuple[Tensor, ...]:
            cosines = self._comparison(problem.weights)
            if cosines is None or self._validation is not None:
                return estimate(problem)
            # a first-order gradient comes with those by the weights
            alone = estimate is not first_order
            gradients = estimate(problem) if alone else ()
            arch = [] if alone else list(problem.arch.values())
            weights = [problem.weights[name] for name in cosines.names]
            known = set(cosines.names)
            with frozen(w for name, w in problem.weights.items() if name not in known):
                found = problem.grad(problem.outer(), [*arch, *weights])
            named = zip(cosines.names, found[len(arch) :], strict=True)
            self._validation = cosines.stacked(dict(named))
            self._compare(problem.weights)
            return gradients if alone else found[: len(arch)]

        return watched_gradient

    def on_weight_gradients(self, module: SearchModule) -> None:
        """Keep g_T and compare. Frozen weights then have no gradient any more."""
        weights = module.parts.weights
        self._release(weights)
        cosines = self._comparison(weights)
        if cosines is None or not (self._weights_first or self._validation):
            return
        scale = 1.0 if self.reading == "paper" else clip_factor(weights, module.gradient_clip)
        named = {name: gradient(weights[name]) * scale for name in cosines.names}
        self._train = cosines.stacked(named)
        self._compare(weights)
        self._release(weights)

    def _comparison(self, weights: Mapping[str, Tensor]) -> GradientCosines | None:
        """Return the comparison of all operations that are not frozen; `None` if all are."""
        names = [self._operations[index].names for index in self._learning()]
        if names and self._cosines is None:
            self._cosines = GradientCosines(names, weights, self.reading)
        return self._cosines

    def _learning(self) -> list[int]:
        return [i for i in range(len(self._operations)) if i not in self._frozen]

    def _release(self, weights: Mapping[str, Tensor]) -> None:
        """Take the gradients of frozen weights away, so that the optimizer leaves them alone."""
        for index in self._frozen if self._operations else ():
            for name in self._operations[index].names:
                weights[name].grad = None

    def _compare(self, weights: Mapping[str, Tensor]) -> None:
        """Compare the two gradients, once both are there."""
        if self._train is None or self._validation is None:
            return
        assert self._cosines is not None
        found = self._cosines(self._train, self._validation)
        self._train = None
        self._tally = found if self._tally is None else self._tally.to(found.device) + found
        self._batches += 1
        if self._batches % self.count == 0:
            self._judge(self._tally)
            self._comparison(weights)

    def _judge(self, tally: Tensor) -> None:
        """Freeze the operations of small mean cosine, among those with enough comparisons."""
        # exactly the same numbers on all processes
        (tally,) = mean_over_ranks([tally])
        means, kept = [], []
        rows = zip(self._learning(), *tally.tolist(), strict=True)
        for place, (index, total, number) in enumerate(rows):
            enough = number >= self.count
            means += [total / number] if enough else []
            if enough and means[-1] < self.threshold:
                self._frozen[index] = self._epoch
            else:
                kept.append(place)
        self._mean = sum(means) / len(means) if means else None
        self._tally = torch.where(tally[1] >= self.count, 0, tally)[:, kept]
        if len(kept) < tally.shape[1]:
            self._cosines = None

    # -- the run -------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget on which device the weights were."""
        self._cosines = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Forget the gradients of the last batch."""
        self._epoch = trainer.current_epoch
        self._train = self._validation = self._mean = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the mean of the cosines, if any were taken."""
        assert isinstance(pl_module, SearchModule)
        if self._mean is not None:
            pl_module.streams.mean(pl_module, {"oles/cosine": self._mean})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the number of frozen operations."""
        if self._operations:
            pl_module.log("oles/frozen", float(len(self._frozen)), rank_zero_only=True)

    def provenance(self, module: SearchModule, genotype: Genotype) -> Mapping[str, Any]:
        """Return the operations that are frozen, in the order in which they were."""
        if not self._operations:
            return {}
        found = [
            {
                "epoch": epoch,
                "cell": self._operations[index].kind,
                "number": self._operations[index].number,
                "edge": self._operations[index].edge,
                "operation": self._operations[index].operation,
            }
            for index, epoch in self._frozen.items()
        ]
        return {"oles": {"operations": len(self._operations), "frozen": found}}

    def state_dict(self) -> dict[str, Any]:
        """Return what is frozen, and the cosines so far."""
        return {
            "frozen": list(self._frozen.items()),
            "tally": self._tally,
            "batches": self._batches,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        self._frozen = dict(state_dict["frozen"])
        self._tally = state_dict["tally"]
        self._batches = state_dict["batches"]
        self._cosines = None
