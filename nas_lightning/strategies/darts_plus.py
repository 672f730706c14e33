"""Early stopping before skip connections dominate the cell (DARTS+)."""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from lightning import LightningModule, Trainer

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check
from nas_lightning.search import ArchStep, SearchModule, SearchPlan
from nas_lightning.strategies.stopping import EarlyStop

WITHOUT_WEIGHTS = frozenset({"none", "noise", "skip_connect", "max_pool_3x3", "avg_pool_3x3"})
"""Operations without weights, which are not ranked."""
NORMAL = "normal"
"""Kind of the cell in which skip connections are counted by default."""


@final
class DartsPlus(EarlyStop):
    """Stop the search early, depending on the cells (DARTS+: Liang et al., 2019).

    The criterion is checked at the end of every epoch in which α was stepped, so not during a
    warm-up. The genotype is that of the epoch in which the search stops. Hooks:
    `on_after_arch_step` and `on_train_epoch_end`. Cost: none; saves the remaining epochs.

    In a network with choices, the candidates that are `nn.Identity` are the skip connections. They
    are counted over all choices, so `kind` is not set, and all other candidates are ranked.

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
        UsageError: A number is below 1, the space has no cell of that kind, or no choice has a skip
            connection.
    """

    logs = ("darts_plus/",)
    replayable = True

    def __init__(
        self,
        criterion: Literal["skips", "ranking"] = "skips",
        skips: int = 2,
        kind: str = NORMAL,
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
        """Check that the space has skip connections, in cells of kind `kind`."""
        space = plan.space
        if self.criterion != "skips":
            return
        if space.of_choices:
            _check_choices(space, self.kind)
        elif self.kind not in space.kinds:
            raise UsageError(
                f"DartsPlus counts in the {self.kind} cell, but the space {space.name!r} "
                f"has {', '.join(space.kinds)}: set kind"
            )

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        """Note that α was stepped in this epoch."""
        self._stepped = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the criterion and stop the search if it is met."""
        assert isinstance(pl_module, SearchModule)
        if self._stepped and not self.stopped:
            if self.criterion == "skips":
                self.stopped = self._count(pl_module.genotype()) >= self.skips
            else:
                self._look_at_ranking(pl_module)
        self._stepped = False
        super().on_train_epoch_end(trainer, pl_module)

    def _count(self, genotype: Genotype) -> int:
        space = genotype.space
        return sum(genotype.skips(k) for k in (space.kinds if space.of_choices else [self.kind]))

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
        learn = [
            m
            for m, name in enumerate(cell.primitives)
            if not module.space.is_skip(cell.kind, name)
            and (module.space.of_choices or name not in WITHOUT_WEIGHTS)
        ]
        columns = mixing.ops[cell.kind][:, learn]
        ranking += columns.argsort(dim=1, descending=True, stable=True).tolist()
    return ranking


def _check_choices(space: SearchSpace, kind: str) -> None:
    if kind != NORMAL:
        raise UsageError(f"DartsPlus counts over all choices of {space.name}: leave kind out")
    if not any(space.is_skip(cell.kind, name) for cell in space.cells for name in cell.primitives):
        raise UsageError(
            f"DartsPlus counts the candidates that are nn.Identity, but {space.name} has none: set "
            f"criterion: ranking"
        )
