"""A search strategy of your own: make the mixing weights of each edge decide."""

from typing import final

import torch
from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.search import SearchPlan, SearchStrategy
from nas_lightning.supernet import ArchitectureParameters


@final
class EntropyPenalty(SearchStrategy):
    """Add the mean entropy of the operation weights to the outer loss.

    Adds a penalty: weight · mean over kinds and edges of -sum over m of p_m log p_m, where p are
    the operation weights (E, O). Cost: none. An example, not a method with a record.

    Args:
        weight: Factor in front of the entropy, which is in nats.

    Raises:
        UsageError: A negative weight.
    """

    def __init__(self, weight: float = 0.1) -> None:
        if weight < 0:
            raise UsageError(f"EntropyPenalty: weight must not be negative, found {weight}")
        self.weight = weight  # under its own name: checkpoints record it from here

    def configure(self, plan: SearchPlan) -> None:
        """Add the penalty."""
        plan.add_penalty(self.penalty, by=self)

    def penalty(self, arch: ArchitectureParameters) -> Tensor:
        """The term that is added to the outer loss ()."""
        rows = torch.cat(list(arch().ops.values()))  # (E of all kinds, O)
        mean: Tensor = torch.special.entr(rows).sum(dim=1).mean()
        return self.weight * mean
