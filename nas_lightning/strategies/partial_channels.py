"""Partial channels: operations run on a share of the channels only (PC-DARTS)."""

from typing import final

from nas_lightning.ranges import at_least, check
from nas_lightning.search import PARTIAL_CHANNELS, SearchPlan, SearchStrategy


@final
class PartialChannels(SearchStrategy):
    """Send 1/K of the channels through the operations, and the others past them (PC-DARTS, eq. 3).

    Channels are not sampled: the first C/K channels are mixed, and a channel shuffle with K groups
    presents other channels to each successor. The memory of the mixed edges falls to about 1/K, so
    that batches can be K times as large. Fills: partial channels K.

    Args:
        k: K; the papers use 4 on CIFAR and 2 on ImageNet.

    Raises:
        UsageError: K is less than 2.
    """

    replayable = True

    def __init__(self, k: int = 4) -> None:
        self.k = k
        check(self, k=at_least(2))

    def configure(self, plan: SearchPlan) -> None:
        """Fill the partial channels with K."""
        plan.fill(PARTIAL_CHANNELS, self.k, by=self)
