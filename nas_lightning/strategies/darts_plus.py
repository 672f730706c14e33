"""Early stopping before skip connections dominate the cell (DARTS+)."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import ArchStep, SearchModule, SearchPlan
from nas_lightning.strategies.stopping import EarlyStop

SKIP = "skip_connect"
WITHOUT_WEIGHTS = frozenset({"none", SKIP, "max_pool_3x3", "avg_pool_3x3"})
"""Operations without weights, which are not ranked."""


@final
class DartsPlus(EarlyStop):
    """Stop the search early, depending on the cells (DARTS+: Liang et al., 2019).

    The criterion is checked at the end of every epoch in which α was stepped, so not during a
    warm-up. The genotype is that of the epoch in which the search stops. Hooks:
    `on_after_arch_step` and `on_train_epoch_end`. Cost: none; saves the remaining epochs.

    Logs, with `criterion: ranking`, the number of epochs without a change
    (`darts_plus/unchanged`).

    Args:
        criterion: `skips` stops when the cell `kind` of the genotype has at least `skips` skip
            connections. `ranking` stops when, on every edge of every cell, the order by weight of
            the operations with weights was the same at the ends of `stable_epochs` + 1 such
            epochs in a row.
        skips: Number of skip connections that stops the search.
        kind: Kind of the cell in which skip connections are counted.
        stable_epochs: Number of successive epochs in which the ranking must not change.

    Raises:
        UsageError: A number is below 1, or the space has no cell of that kind.
    """

    logs = ("darts_plus/",)
    replayable = True

    def __init__(
        self,
        criterion: Literal["skips", "ranking"] = "skips",
        skips: int = 2,
        kind: str = "normal",
        stable_epochs: int = 10,
    ) -> None:
        super().__init__()
        self.criterion: Literal["skips", "ranking"] = criterion
        self.skips = skips
        self.kind = kind
        self.stable_epochs = stable_epochs
        check(self, skips=at_least(1), stable_epochs=at_least(1))
        self._ranking: list[list[int]] | None = None
        self._unchanged = 0
        self._stepped = False

    def configure(self, plan: SearchPlan) -> None:
        """Check that the space has a cell of kind `kind`."""
        if self.criterion == "skips" and self.kind not in plan.space.kinds:
            raise UsageError(
                f"DartsPlus counts in the {self.kind} cell, but the space {plan.space.name!r} "
                f"has {', '.join(plan.space.kinds)}: set kind"
            )

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Note that α was stepped in this epoch."""
        self._stepped = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the criterion and stop the search if it is met."""
        assert isinstance(pl_module, SearchModule)
        if self._stepped and not self.stopped:
            if self.criterion == "skips":
                self.stopped = pl_module.genotype().count(SKIP, self.kind) >= self.skips
            else:
                self._look_at_ranking(pl_module)
        self._stepped = False
        super().on_train_epoch_end(trainer, pl_module)

    def _look_at_ranking(self, module: SearchModule) -> None:
        ranking = rank(module)
        self._unchanged = self._unchanged + 1 if ranking == self._ranking else 0
        self._ranking = ranking
        self.stopped = self._unchanged >= self.stable_epochs
        module.log("darts_plus/unchanged", float(self._unchanged), rank_zero_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the last ranking, its age in epochs, and True if α was stepped since."""
        own = {
            "ranking": self._ranking,
            "unchanged": self._unchanged,
            "stepped": self._stepped,
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a result of `state_dict`."""
        super().load_state_dict(state_dict)
        self._ranking, self._unchanged = state_dict["ranking"], state_dict["unchanged"]
        self._stepped = state_dict["stepped"]


@torch.no_grad()
def rank(module: SearchModule) -> list[list[int]]:
    """Return, for every edge of every cell, the ranks of the operations with weights.

    Each row lists the indices among the operations with weights, from the largest mixing weight
    to the smallest.
    """
    ranking: list[list[int]] = []
    mixing = module.arch()
    for cell in module.space.cells:
        learn = [m for m, name in enumerate(cell.primitives) if name not in WITHOUT_WEIGHTS]
        columns = mixing.ops[cell.kind][:, learn]
        ranking += columns.argsort(dim=1, descending=True, stable=True).tolist()
    return ranking
