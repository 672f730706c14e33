"""Single level: α, β learn on the batch of the weights."""

from typing import final

from nas_lightning.search import OUTER_BATCH, SearchPlan, SearchStrategy


@final
class SingleLevel(SearchStrategy):
    """Take the outer loss on the batch that the weight step sees (as SNAS does).

    There is then one loss and one data set, and no bilevel problem: the architecture half is left
    aside. Tell the data module too, or half of the images go unused: `single_level: true` gives
    both steps the whole training set. Fills: outer batch. Cost: none.
    """

    replayable = True

    def configure(self, plan: SearchPlan) -> None:
        """Set the batch."""
        plan.fill(OUTER_BATCH, "train", by=self)
