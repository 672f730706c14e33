"""Draws that depend on where in a run they are made, and draws that are replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")

_MASK = (1 << 64) - 1


def mix_seed(*parts: int) -> int:
    """Mix integers into one seed.

    Nearby inputs, such as the same image in two epochs, give unrelated seeds. All bits of the
    result are well mixed: the CPU generator of torch reads only the lower 32.

    Args:
        parts: Any integers; their order matters.

    Returns:
        A number in 0 .. 2**63 - 1, the same on every machine and in every process.
    """
    state: int = 0
    for part in parts:
        state = _mix(state, part & _MASK)
    return state >> 1


def mix_seeds(*parts: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Mix arrays of integers, element by element, into the seeds that `mix_seed` gives.

    Args:
        parts: Integers, and arrays of them that broadcast against each other.

    Returns:
        Numbers in 0 .. 2**63 - 1, of the common shape.
    """
    state: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for part in parts:
        word = np.asarray(part & _MASK if isinstance(part, int) else part)
        state = _mix(state, word.astype(np.uint64))
    return state >> np.uint64(1)


def _mix(state: Any, part: Any) -> Any:
    """The step and the finaliser of the SplitMix64 generator (Steele et al., 2014).

    For integers and for arrays of uint64, which wrap by themselves.
    """
    state = (state ^ part) + 0x9E3779B97F4A7C15 & _MASK
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
    return state ^ (state >> 31)


class ReplayedDraws:
    """Lets functions start from the state that the generators have now, each time.

    Differences between evaluations then come from the parameters alone: with fresh draws a
    finite difference measures the noise.

    Args:
        device: Its generator is replayed, and always the CPU's.
        own: A generator beside these.
    """

    def __init__(self, device: torch.device, own: torch.Generator) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._states = self._now()
        self._own = own
        self._own_state = own.get_state()

    def __call__(self, function: Callable[[], T]) -> T:
        """Call the function from the kept state."""
        cpu, cuda = self._states
        self._own.set_state(self._own_state)
        torch.set_rng_state(cpu)
        if cuda is not None and self._cuda is not None:
            torch.cuda.set_rng_state(cuda, self._cuda)
        return function()

    def _now(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return torch.get_rng_state(), cuda
