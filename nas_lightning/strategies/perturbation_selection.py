"""Perturbation-based selection: operations and edges by the accuracy that is lost without them."""

from __future__ import annotations

import math
from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer

from nas_lightning.architecture import Cell, Genotype
from nas_lightning.errors import UsageError
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import POSITIVE, at_least, check
from nas_lightning.search import ARCH_STEP, DISCRETIZER, SearchModule, SearchPlan, SearchStrategy
from nas_lightning.search.discretize import strongest_edges
from nas_lightning.search.measure import check_metric, check_validation
from nas_lightning.strategies.decisions import agreement, count_passes, count_rounds, groups
from nas_lightning.strategies.selector import Criterion, Selector, in_words
from nas_lightning.training.schedules import planned_epochs


@final
class PerturbationSelection(SearchStrategy):
    """Select operations by the validation accuracy that is lost without them (DARTS-PT, ICLR 2021).

    The selection takes the last epochs of the run, after the epochs of the search. In each round,
    an undecided edge of each cell kind is drawn at random. The strength of an operation on it is
    the accuracy of the supernet on the validation data minus the accuracy with the operation's
    mixing weight set to zero; the other weights stay as they are. The edge keeps the strongest
    operation, with weight one. Then weights and α are trained for `tuning_epochs`. When every edge
    has one operation, each round draws a node of each cell kind that has too many edges. It removes
    the edge without which the accuracy is highest, until the node has as many as a genotype keeps.
    Ties go to the lower index. An operation that no genotype contains, such as `none` in the space
    of DARTS, is not a candidate, and is removed when its edge is decided.

    There are R rounds, at the starts of every `tuning_epochs`-th epoch of the last
    tuning_epochs · (R - 1) + 1 epochs: 17 and 81 in the space of DARTS. A network with choices
    decides one choice in each round. Schedules and ramps of all other parts end with the epochs of
    the search. In the first epoch of the selection the optimizer of the weights begins anew; that
    of α goes on. Fills: discretizer. Hooks: `allow_arch_step`, `on_train_start`,
    `on_train_epoch_start`, `provenance`. Cost: one pass over the validation data for each candidate
    of each edge, one more for each edge, and one for each edge that might be removed, 268 in the
    space of DARTS; and the epochs of tuning.

    Logs the mean rank correlation (Kendall's τ_b) of strengths and mixing weights over the edges
    that were decided in an epoch, `perturbation/agreement`. The provenance of the genotype lists
    all decisions (`selection`).

    Args:
        criterion: `perturbation`, or `magnitude` to keep the operations and edges of largest mixing
            weight at the same times and with the same tuning. The weight of an edge is then that of
            its operation when it was decided.
        tuning_epochs: Number of epochs from one round to the next; with 0, all rounds are taken
            at the start of the last epoch.
        tuning_rate: Learning rate of the weights in these epochs, as a share of their initial rate.
        tuning_schedule: `constant`, or `cosine` to let that rate fall to zero in the last epoch.
        metric: Metric of the task that measures the supernet; `main` is its main metric, `loss` its
            loss.
        blank: Keep α as it was initialised in the whole run.

    Raises:
        UsageError: A number is out of range.
    """

    logs = ("perturbation/",)
    leaves_parameters_unused = True

    def __init__(
        self,
        criterion: Criterion = "perturbation",
        tuning_epochs: int = 5,
        tuning_rate: float = 0.1,
        tuning_schedule: Literal["constant", "cosine"] = "constant",
        metric: str = "main",
        blank: bool = False,
    ) -> None:
        self.criterion: Criterion = criterion
        self.tuning_epochs = tuning_epochs
        self.tuning_rate = tuning_rate
        self.tuning_schedule: Literal["constant", "cosine"] = tuning_schedule
        self.metric = metric
        self.blank = blank
        check(self, tuning_epochs=at_least(0), tuning_rate=POSITIVE)
        self._rounds = (0, 0)  # of operations, and of edges
        self._passes = 0
        self._begun = False
        self._taken = 0
        self._decisions: list[dict[str, Any]] = []

    @property
    def epochs(self) -> int:
        """Number of epochs of the selection, in the last of which nothing is decided any more."""
        return self.tuning_epochs * (sum(self._rounds) - 1) + 1

    # -- the plan ------------------------------------------------------------------------------

    def configure(self, plan: SearchPlan) -> None:
        """Fill the discretizer, and let operations be removed."""
        plan.fill(DISCRETIZER, strongest_edges, by=self)
        plan.keep_operations(None, by=self)

    def verify(self, plan: SearchPlan) -> None:
        """Take the last epochs of the run, as many as the operations that run need.

        Raises:
            UsageError: Another strategy takes them, ends the search early, removes edges or has its
                own architecture step, or there is nothing to decide.
        """
        reasons = [
            *((other, "ends it early") for other in plan.strategies if other.ends_early),
            *((other, "chooses edges itself") for other in plan.strategies if other.removes_edges),
            *((by, "trains with a network of its own") for by in plan.deciders(ARCH_STEP)),
        ]
        for other, does in reasons:
            raise UsageError(
                f"conflicting strategies: PerturbationSelection selects in the last epochs of the "
                f"search, {type(other).__name__} {does}; keep one of them"
            )
        kept = {
            cell.kind: (plan.kept or {}).get(
                cell.kind,
                torch.ones(len(cell.edges), len(cell.primitives), dtype=torch.bool, device="cpu"),
            )
            for cell in plan.space.cells
        }
        self._rounds = count_rounds(plan.space, kept)
        if not sum(self._rounds):
            raise UsageError(
                "PerturbationSelection has nothing to select: one operation runs on each edge"
            )
        perturbs = self.criterion == "perturbation"
        self._passes = count_passes(plan.space, kept) if perturbs else 0
        plan.end_with(self.epochs, self._rate, by=self)

    def _rate(self, epoch: int, initial: float) -> float:
        """Return the learning rate of the weights in an epoch of the selection."""
        rate = self.tuning_rate * initial
        if self.tuning_schedule == "cosine":
            rate *= (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return rate

    # -- the run -------------------------------------------------------------------------------

    def allow_arch_step(self, module: SearchModule) -> bool:
        """Return False if α is never trained."""
        return not self.blank

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the validation data, and take the decisions that are due.

        Raises:
            UsageError: There is no validation data, or the metric is unknown.
        """
        assert isinstance(pl_module, SearchModule)
        if self._passes:
            check_metric(pl_module, self.metric, type(self).__name__)
            check_validation(trainer, type(self).__name__)
        if self._first(trainer) < (trainer.max_epochs or 0) and not self._taken:
            pl_module.print(
                f"selection: {sum(self._rounds)} rounds from epoch {self._first(trainer) + 1} on, "
                f"with {self._passes:,} passes over the validation data"
            )
        self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the decisions that are due."""
        assert isinstance(pl_module, SearchModule)
        self._enter(trainer, pl_module)

    def _first(self, trainer: Trainer) -> int:
        """Return the first epoch of the selection."""
        return planned_epochs(trainer)

    def _enter(self, trainer: Trainer, module: SearchModule) -> None:
        """Take all rounds that are due in this epoch and are not taken yet."""
        epoch = module.current_epoch - self._first(trainer)
        if epoch < 0:
            return
        if not self._begun:
            self._begun = True
            trainer.optimizers[0].state.clear()  # of the weights
        while self._taken < sum(self._rounds) and self._taken * self.tuning_epochs <= epoch:
            # by its position, so that a resumed run draws the same edges
            seed = mix_seed(*module.draw_position(-1 - self._taken))
            module.arch.generator.manual_seed(seed)
            for cells in groups(module.space):
                self._round(module, cells)
            self._taken += 1

    def _round(self, module: SearchModule, cells: list[Cell]) -> None:
        """Decide one edge, or the edges of one node, of a group of cells."""
        selector = Selector(module, self.criterion, self.metric, self._decisions)
        for decision in selector.decided(cells, operations=self._taken < self._rounds[0]):
            self._decisions.append(decision)
            module.print(
                f"selection: round {self._taken + 1} of {sum(self._rounds)}, {in_words(decision)}"
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the agreement of strengths and weights in the last batch of an epoch."""
        if not trainer.is_last_batch:
            return
        found = [
            agreement(list(one["strengths"].values()), list(one["weights"].values()))
            for one in self._decisions
            if one["epoch"] == trainer.current_epoch and "strengths" in one
        ]
        if known := [value for value in found if value is not None]:
            assert isinstance(pl_module, SearchModule)
            mean = sum(known) / len(known)
            pl_module.streams.mean(pl_module, {"perturbation/agreement": mean})

    # -- the result ----------------------------------------------------------------------------

    def provenance(self, module: SearchModule, genotype: Genotype) -> dict[str, Any]:
        """Record the criterion and all decisions so far."""
        return {"selection": {"criterion": self.criterion, "decisions": list(self._decisions)}}

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rounds that were taken, and the decisions."""
        return {"begun": self._begun, "taken": self._taken, "decisions": list(self._decisions)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        self._begun, self._taken = state_dict["begun"], state_dict["taken"]
        self._decisions = list(state_dict["decisions"])
