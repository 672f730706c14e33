"""Replayed draws: several evaluations of a loss with the same dropout, drop path and noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


class ReplayedDraws:
    """Lets functions start from the state that the generators have now, each time.

    Differences between evaluations then come from the parameters alone: with fresh draws a
    finite difference measures the noise.

    Args:
        device: Its generator is replayed, and always the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._states = self._now()

    def __call__(self, function: Callable[[], T]) -> T:
        """Call the function from the kept state."""
        cpu, cuda = self._states
        torch.set_rng_state(cpu)
        if cuda is not None and self._cuda is not None:
            torch.cuda.set_rng_state(cuda, self._cuda)
        return function()

    def _now(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return torch.get_rng_state(), cuda
