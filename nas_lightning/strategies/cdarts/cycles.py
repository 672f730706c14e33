"""The cycles of CDARTS: what is trained in each epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Phase = Literal["pretraining", "warm-up", "joint"]
"""`pretraining`: the supernet's weights alone. `warm-up`: the evaluation network alone. `joint`:
both networks and α."""


@dataclass(frozen=True)
class Cycles:
    """The epochs of a search: pretraining, and then cycles of warm-up and joint epochs.

    Everything is a function of the epoch, so that a resumed search needs no other state.

    Attributes:
        pretraining: Number of first epochs in which the supernet's weights are trained alone.
        warmup: Epochs of each cycle in which the evaluation network is trained alone.
        joint: Epochs of each cycle in which both networks and α are trained.
    """

    pretraining: int
    warmup: int
    joint: int

    def cycle(self, epoch: int) -> int:
        """Return the cycle of an epoch, counted from 0; -1 in the pretraining."""
        return max(-1, (epoch - self.pretraining) // (self.warmup + self.joint))

    def phase(self, epoch: int) -> Phase:
        """Return what is trained in an epoch."""
        if epoch < self.pretraining:
            return "pretraining"
        return "warm-up" if self._place(epoch) < self.warmup else "joint"

    def joint_epochs(self, epoch: int) -> int:
        """Return the number of joint epochs before an epoch."""
        if epoch < self.pretraining:
            return 0
        return self.cycle(epoch) * self.joint + max(0, self._place(epoch) - self.warmup)

    def rate(self, epoch: int, smallest: float) -> float:
        """Return the rate of the evaluation network's optimizer in units of its first rate.

        It is 1 in the warm-up of each cycle, and then follows a cosine over its joint epochs.

        Args:
            epoch: The epoch.
            smallest: Value to which the cosine falls, in the same units.
        """
        if epoch < self.pretraining:
            return 1.0
        done = max(0, self._place(epoch) - self.warmup) / self.joint
        return smallest + (1 - smallest) * (1 + math.cos(math.pi * done)) / 2

    def decay(self, epoch: int, epochs: int, until: float) -> float:
        """Return the factor of the regulariser, which falls linearly from 1 to 0.

        Args:
            epoch: The epoch.
            epochs: Number of epochs of the run.
            until: Share of the joint epochs after which it is 0.
        """
        all_of_them = max(1, self.joint_epochs(epochs))
        return max(0.0, 1 - self.joint_epochs(epoch) / (all_of_them * until))

    def _place(self, epoch: int) -> int:
        return (epoch - self.pretraining) % (self.warmup + self.joint)
