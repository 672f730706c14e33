"""Random draws that depend only on their position in a run, and draws that are replayed."""

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

    Similar inputs, such as the same image in two epochs, result in unrelated seeds. All bits of
    the result are well mixed, because the CPU generator of PyTorch reads only the lower 32.

    Args:
        parts: Any integers; their order matters.

    Returns:
        A number from 0 to 2**63 - 1, the same on every machine and in every process.
    """
    state: int = 0
    for part in parts:
        state = _mix(state, part & _MASK)
    return state >> 1


def mix_seeds(*parts: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Mix arrays of integers, element by element, into the seeds that `mix_seed` returns.

    Args:
        parts: Integers, and arrays of integers that broadcast against each other.

    Returns:
        Numbers from 0 to 2**63 - 1, of the broadcast shape.
    """
    state: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for part in parts:
        word = np.asarray(part & _MASK if isinstance(part, int) else part)
        state = _mix(state, word.astype(np.uint64))
    return state >> np.uint64(1)


def _mix(state: Any, part: Any) -> Any:
    """Apply the step and the finaliser of the SplitMix64 generator (Steele et al., 2014).

    Works on integers and on arrays of uint64, whose arithmetic wraps around.
    """
    state = (state ^ part) + 0x9E3779B97F4A7C15 & _MASK
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
    return state ^ (state >> 31)


class ReplayedDraws:
    """Calls functions with the random generators in the state they had at construction.

    Two evaluations then differ only through their parameters. With fresh draws, a finite
    difference would measure the noise.

    Args:
        device: Device whose generator is replayed, in addition to that of the CPU.
        own: One more generator to replay.
    """

    def __init__(self, device: torch.device, own: torch.Generator) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._states = self._now()
        self._own = own
        self._own_state = own.get_state()

    def __call__(self, function: Callable[[], T]) -> T:
        """Restore the recorded states and call the function."""
        cpu, cuda = self._states
        self._own.set_state(self._own_state)
        torch.set_rng_state(cpu)
        if cuda is not None and self._cuda is not None:
            torch.cuda.set_rng_state(cuda, self._cuda)
        return function()

    def _now(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return torch.get_rng_state(), cuda
