"""Warm-up: the weights are trained alone in the first epochs."""

from typing import TYPE_CHECKING, final

from nas_lightning.ranges import at_least, check
from nas_lightning.search import SearchStrategy

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


@final
class WarmUp(SearchStrategy):
    """Keep α and β unchanged in the first epochs (PC-DARTS, section 4.2).

    With untrained weights, operations without weights seem better than they are, and α would learn
    to prefer them. The genotype does not change during the warm-up. Hooks: `allow_arch_step`.
    Cost: none; saves the architecture steps of the first epochs.

    Args:
        epochs: Number of epochs without architecture steps.

    Raises:
        UsageError: `epochs` is negative.
    """

    replayable = True

    def __init__(self, epochs: int = 15) -> None:
        self.epochs = epochs
        check(self, epochs=at_least(0))

    @property
    def alpha_from(self) -> int:
        """The first epoch after the warm-up."""
        return self.epochs

    def allow_arch_step(self, module: "SearchModule") -> bool:
        """Return True if the warm-up is over."""
        return module.current_epoch >= self.epochs
