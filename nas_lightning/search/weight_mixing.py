"""The mixing weights that the weight step runs with."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nas_lightning.supernet import Mixing

WeightMixing = Callable[[Mixing, Callable[[Mixing], Tensor]], Mixing]
"""Mixing weights of the weight step, without a graph, and a function from mixing weights to the
inner loss () of its batch → the mixing weights that the step runs with. That function leaves
buffers and carried states alone."""


def unperturbed(mixing: Mixing, _loss: Callable[[Mixing], Tensor]) -> Mixing:
    """Return the mixing weights unchanged."""
    return mixing
