"""Stop a search before skip connections take the cell over (DARTS+)."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer

from nas_lightning.errors import UsageError
from nas_lightning.search import ArchStep, SearchModule, SearchPlan
from nas_lightning.strategies.stopping import EarlyStop

SKIP = "skip_connect"
WITHOUT_WEIGHTS = frozenset({"none", SKIP, "max_pool_3x3", "avg_pool_3x3"})
"""Operations that are not ranked: they do not learn."""


@final
class DartsPlus(EarlyStop):
    """Stop the search early by what the cells look like (DARTS+: Liang et al., 2019).

    Looked at behind every epoch that stepped α, so not in a warm-up; the genotype is that of the
    epoch in which the search stops. Hooks: `on_after_arch_step` and `on_train_epoch_end`. Cost:
    none; saves the epochs that do not run.

    Logged with `criterion: ranking`: `darts_plus/unchanged`, in epochs.

    Args:
        criterion: `skips`: stop when the cell of that kind in the genotype has at least `skips`
            skip connections. `ranking`: stop when on every edge of every cell the order, by
            weight, of the operations that learn has been the same at the ends of
            `stable_epochs` + 1 such epochs in a row.
        skips: So many skip connections are too many.
        kind: The cell in which they are counted.
        stable_epochs: How often in a row the ranking must be found unchanged.

    Raises:
        UsageError: A number is below 1, or the space has no such cell.
    """

    replayable = True

    def __init__(
        self,
        criterion: Literal["skips", "ranking"] = "skips",
        skips: int = 2,
        kind: str = "normal",
        stable_epochs: int = 10,
    ) -> None:
        if min(skips, stable_epochs) < 1:
            raise UsageError("DartsPlus: skips and stable_epochs must be at least 1")
        super().__init__()
        self.criterion: Literal["skips", "ranking"] = criterion
        self.skips = skips
        self.kind = kind
        self.stable_epochs = stable_epochs
        self._ranking: list[list[int]] | None = None
        self._unchanged = 0
        self._stepped = False

    def configure(self, plan: SearchPlan) -> None:
        """Check that there is such a cell."""
        if self.criterion == "skips" and self.kind not in plan.space.kinds:
            raise UsageError(
                f"DartsPlus counts in the {self.kind} cell, but the space {plan.space.name!r} "
                f"has {', '.join(plan.space.kinds)}: set kind"
            )

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """See that α moved in this epoch."""
        self._stepped = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the cells, and end the search if it is over."""
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
        """The last ranking, for how long it has been the same, and whether α moved since."""
        own = {
            "ranking": self._ranking,
            "unchanged": self._unchanged,
            "stepped": self._stepped,
        }
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(state_dict)
        self._ranking, self._unchanged = state_dict["ranking"], state_dict["unchanged"]
        self._stepped = state_dict["stepped"]


@torch.no_grad()
def rank(module: SearchModule) -> list[list[int]]:
    """On every edge of every cell the operations that learn, numbered, strongest first."""
    ranking: list[list[int]] = []
    mixing = module.arch()
    for cell in module.space.cells:
        learn = [m for m, name in enumerate(cell.primitives) if name not in WITHOUT_WEIGHTS]
        columns = mixing.ops[cell.kind][:, learn]
        ranking += columns.argsort(dim=1, descending=True, stable=True).tolist()
    return ranking
