"""Single-level search: α and β learn on the batch of the weights."""

from typing import final

from nas_lightning.search import OUTER_BATCH, SearchPlan, SearchStrategy


@final
class SingleLevel(SearchStrategy):
    """Compute the outer loss on the batch of the weight step (as in SNAS).

    There is then one loss and one data set, and no bilevel problem. The architecture half of the
    data is not used, so also set `single_level: true` in the data module, which gives both steps
    the whole training set. Fills: outer batch. Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Fill the outer batch."""
        plan.fill(OUTER_BATCH, "train", by=self)
