"""Kernels of many convolutions, concatenated with few operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Gathered(NamedTuple):
    """Kernels of a pass.

    Attributes:
        kernels: The kernels in the order of the requests, each (n · outputs, inputs, height,
            width).
        learned: The pass needs the gradients of the kernels, not those of the mixing weights.
    """

    kernels: list[Tensor]
    learned: bool


class Kernels:
    """Gathers the kernels of a cell's convolutions, all those of one shape in one concatenation."""

    def __init__(self) -> None:
        self._requests: list[tuple[Sequence[Any], Sequence[Any]]] = []

    def request(self, convs: Sequence[Any], pointwise: Sequence[Any] = ()) -> int:
        """Request the kernels of n convolutions, to run as one convolution.

        Args:
            convs: Convolutions of one shape.
            pointwise: The pointwise convolutions that follow, if the first ones are depthwise and
                each pair is to run as one dense convolution.

        Returns:
            The index in `Gathered.kernels`.
        """
        self._requests.append((convs, pointwise))
        return len(self._requests) - 1

    def gather(self, learned: bool) -> Gathered:
        """Return all requested kernels, made from the present weights."""
        shapes: dict[Any, list[int]] = defaultdict(list)
        for i, (convs, pointwise) in enumerate(self._requests):
            shapes[convs[0].weight.shape, bool(pointwise)].append(i)
        gathered: dict[int, Tensor] = {}
        for (_, both), places in shapes.items():
            kernels = _stacked([conv for i in places for conv in self._requests[i][0]])
            if both:
                # pointwise (n, outputs, inputs, 1, 1) times depthwise (n, 1, inputs, …)
                second = _stacked([conv for i in places for conv in self._requests[i][1]])
                kernels = second * kernels.transpose(1, 2)
            pieces = torch.split(kernels, [len(self._requests[i][0]) for i in places])
            gathered |= zip(places, (piece.flatten(0, 1) for piece in pieces), strict=True)
        return Gathered([gathered[i] for i in range(len(self._requests))], learned)


def _stacked(convs: Sequence[Any]) -> Tensor:
    """Stack the kernels of n convolutions: (n, outputs, inputs, height, width)."""
    return torch.unflatten(torch.cat([conv.weight for conv in convs]), 0, (len(convs), -1))
