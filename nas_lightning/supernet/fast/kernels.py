"""Kernels of many convolutions, gathered with few operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Made(NamedTuple):
    """Kernels of a pass.

    Attributes:
        kernels: In the order in which they were asked for, each (n · outputs, inputs, height,
            width).
        learned: Whether the pass is for their gradients, and not for those of mixing weights.
    """

    kernels: list[Tensor]
    learned: bool


class Kernels:
    """Gathers the kernels of a cell's convolutions, those of one shape in one concatenation."""

    def __init__(self) -> None:
        self._asked: list[tuple[Sequence[Any], Sequence[Any]]] = []

    def ask(self, convs: Sequence[Any], pointwise: Sequence[Any] = ()) -> int:
        """Ask for the kernels of n convolutions as those of one.

        Args:
            convs: Convolutions of one shape.
            pointwise: What follows each of them, if they are depthwise and the two shall be one.

        Returns:
            Where `made` has them.
        """
        self._asked.append((convs, pointwise))
        return len(self._asked) - 1

    def made(self, learned: bool) -> Made:
        """What was asked for, of the weights as they are now."""
        shapes: dict[Any, list[int]] = defaultdict(list)
        for i, (convs, pointwise) in enumerate(self._asked):
            shapes[convs[0].weight.shape, bool(pointwise)].append(i)
        made: dict[int, Tensor] = {}
        for (_, both), places in shapes.items():
            kernels = _stacked([conv for i in places for conv in self._asked[i][0]])
            if both:
                # (n, outputs, inputs, 1, 1) of pointwise times (n, 1, inputs, …) of depthwise
                second = _stacked([conv for i in places for conv in self._asked[i][1]])
                kernels = second * kernels.transpose(1, 2)
            parts = torch.split(kernels, [len(self._asked[i][0]) for i in places])
            made |= zip(places, (part.flatten(0, 1) for part in parts), strict=True)
        return Made([made[i] for i in range(len(self._asked))], learned)


def _stacked(convs: Sequence[Any]) -> Tensor:
    """Kernels of n convolutions (n, outputs, inputs, height, width)."""
    return torch.unflatten(torch.cat([conv.weight for conv in convs]), 0, (len(convs), -1))
