"""Signals that are sums of a few cosines, for small inverse problems."""

import math
from typing import Any

import torch
from torch import Tensor

from nas_lightning.data.halves import Part
from nas_lightning.data.inverse import InverseData
from nas_lightning.randomness import mix_seed
from nas_lightning.ranges import at_least, check

_COSINES = 3  # largest number of cosines


class Signals(InverseData):
    """Synthetic signals: an offset plus one to three cosines.

    x_t = c + sum over k of a_k · cos(2π f_k t / n + φ_k). All parameters are drawn uniformly: the
    number of cosines from {1, 2, 3}, amplitudes a from [0.5, 1.5], frequencies f from [1, 8]
    periods per signal (not integers, so x is not periodic), phases φ from [0, 2π], and the offset
    c from [-0.5, 0.5]. Inspired by Geiping et al., "DARTS for Inverse Problems" (2021), whose
    exact setting was not available.

    The peak of PSNR is 2, about the mean over the signals of max |x|.

    Args:
        size: Number of samples n of a signal.
        train_size: Number of training signals, before the split of `mode`.
        test_size: Number of test signals.
        kwargs: Arguments of all inverse problems, see `InverseData`.

    Raises:
        UsageError: An argument is out of range, or the operator does not accept this size.
    """

    dims = 1
    peak = 2.0
    samples = "signals"

    def __init__(
        self, size: int = 64, train_size: int = 2000, test_size: int = 1000, **kwargs: Any
    ) -> None:
        super().__init__(size, **kwargs)
        self.train_size = train_size
        self.test_size = test_size
        check(self, train_size=at_least(1), test_size=at_least(1))

    def truths(self, part: Part) -> Tensor:
        """Return the signals (N, 1, n), drawn from a fixed seed."""
        count = self.train_size if part == "train" else self.test_size
        generator = torch.Generator().manual_seed(mix_seed(3 if part == "train" else 4))

        def uniform(low: float, high: float, columns: int = _COSINES) -> Tensor:
            return low + (high - low) * torch.rand(count, columns, 1, generator=generator)

        amplitude, frequency = uniform(0.5, 1.5), uniform(1, 8)
        phase, offset = uniform(0, 2 * math.pi), uniform(-0.5, 0.5, columns=1)
        number = torch.randint(1, _COSINES + 1, (count, 1, 1), generator=generator)
        present = torch.arange(_COSINES).view(1, -1, 1) < number
        time = torch.arange(self.size) / self.size
        cosines = amplitude * torch.cos(2 * math.pi * frequency * time + phase)
        return offset + (present * cosines).sum(dim=1, keepdim=True)
