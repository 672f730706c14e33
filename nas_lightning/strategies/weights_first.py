"""The order of the two steps of a batch: the weights before α."""

from typing import final

from nas_lightning.search import STEP_ORDER, SearchPlan, SearchStrategy


@final
class WeightsFirst(SearchStrategy):
    """Step the weights before α and β in each batch (released codes of AutoDL and ProxylessNAS).

    DARTS steps α first and then the weights, at the new α. With this strategy the weights step at
    the old α, and α then steps at the new weights. Over a run this only shifts α by a batch against
    the weights: the first weight step sees the initial α, and α steps last. Fills: step order.
    Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Fill the step order."""
        plan.fill(STEP_ORDER, "weights first", by=self)
