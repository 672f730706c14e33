"""Warm-up: train the weights alone before the architecture moves."""

from typing import TYPE_CHECKING, final

from nas_lightning.search import SearchStrategy

if TYPE_CHECKING:
    from nas_lightning.search import SearchModule


@final
class WarmUp(SearchStrategy):
    """Keep α and β as they are for the first epochs (PC-DARTS, section 4.2).

    While weights are fresh, operations without weights look better than they are, and α learns
    that. An unchanged genotype during these epochs is expected. Hooks: `allow_arch_step`. Cost:
    saves the architecture step in these epochs.

    Args:
        epochs: How many.
    """

    replayable = True

    def __init__(self, epochs: int = 15) -> None:
        self.epochs = epochs

    def allow_arch_step(self, module: "SearchModule") -> bool:
        """Whether the warm-up is over."""
        return module.current_epoch >= self.epochs
