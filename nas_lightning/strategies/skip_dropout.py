"""Dropout after skip connections (P-DARTS)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.ranges import NOT_NEGATIVE, PROBABILITY, at_least, check
from nas_lightning.search import SearchPlan, SearchStrategy
from nas_lightning.supernet import Supernet
from nas_lightning.supernet.reference import MixedEdge
from nas_lightning.training.schedules import planned_epoch, planned_epochs

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer


class DroppedSkip(nn.Module):
    """An identity, in training followed by dropout of single values.

    Attributes:
        p: Probability that a value is dropped; the others are scaled by 1/(1 - p).
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, H, W), in training with some values dropped."""
        return F.dropout(x, self.p, self.training) if self.p else x


@final
class SkipDropout(SearchStrategy):
    """Drop values after skip connections in the search (P-DARTS, Chen et al., ICCV 2019).

    Only skip connections of stride 1 have dropout, since those of stride 2 have weights. With
    initial rate p, E epochs of which α is frozen in the first f, the rate in epoch e from 0 is

        p (E - e - 1) / E        for e < f,
        p exp(-decay (e - f))    for e ≥ f.

    At e = f it jumps back up to p, as in the released code. Both steps of the search drop values,
    by the draws of the process; validation and discrete cells do not. Alters the supernet. Cost: a
    mask for each skip connection; the fast cell then runs skips edge by edge.

    Args:
        rate: p.
        frozen: f, the epochs of the strategy `WarmUp`.
        decay: Rate of the exponential decay.

    Raises:
        UsageError: A number is out of range.
    """

    def __init__(self, rate: float = 0.1, frozen: int = 10, decay: float = 0.2) -> None:
        self.rate = rate
        self.frozen = frozen
        self.decay = decay
        check(self, rate=PROBABILITY, frozen=at_least(0), decay=NOT_NEGATIVE)

    def configure(self, plan: SearchPlan) -> None:
        """Alter the supernet, unless the rate is zero."""
        if self.rate:
            plan.alter_supernet(with_dropout, by=self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the rate of the epoch, also when resuming within an epoch."""
        self._set(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the rate of the epoch."""
        self._set(trainer, pl_module)

    def rate_in(self, epoch: int, epochs: int) -> float:
        """Return the rate in an epoch, counted from 0, of a search of some epochs."""
        if epoch < self.frozen:
            return self.rate * (epochs - epoch - 1) / epochs
        return self.rate * math.exp(-self.decay * (epoch - self.frozen))

    def _set(self, trainer: Trainer, module: LightningModule) -> None:
        rate = self.rate_in(planned_epoch(trainer), planned_epochs(trainer))
        for part in module.modules():
            if isinstance(part, DroppedSkip):
                part.p = rate


def with_dropout(supernet: Supernet) -> Supernet:
    """Replace the identities on the edges of a supernet by `DroppedSkip`.

    Raises:
        UsageError: It has none.
    """
    found = False
    for edge in supernet.modules():
        if isinstance(edge, MixedEdge):
            for column, _ in enumerate(edge.primitives):  # and none that a strategy has added
                if isinstance(edge.ops[column], nn.Identity):
                    edge.ops[column] = DroppedSkip()
                    found = True
    if not found:
        raise UsageError(
            "SkipDropout drops values after skip connections of stride 1, and the supernet has "
            "none: remove it"
        )
    return supernet
