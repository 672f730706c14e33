"""Partial channels: mix operations on a share of the channels only."""

from typing import final

from nas_lightning.errors import UsageError
from nas_lightning.search import PARTIAL_CHANNELS, SearchPlan, SearchStrategy


@final
class PartialChannels(SearchStrategy):
    """Send 1/K of the channels through the operations, the others past them (PC-DARTS, eq. 3).

    The first C/K channels are mixed and a channel shuffle with K groups hands each successor
    others, in place of drawing channels at random. Memory of the mixed edges falls to about
    1/K, so batches can be K times as large. Fills: partial channels K.

    Args:
        k: K; the papers use 4 on CIFAR and 2 on ImageNet.

    Raises:
        UsageError: K is less than 2.
    """

    replayable = True

    def __init__(self, k: int = 4) -> None:
        if k < 2:
            raise UsageError(f"PartialChannels: k must be at least 2, found {k}")
        self.k = k

    def configure(self, plan: SearchPlan) -> None:
        """Set K."""
        plan.fill(PARTIAL_CHANNELS, self.k, by=self)
