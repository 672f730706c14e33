"""The inverse problem of a reconstruction, and the states that lead to its solution.

A state has the shape (B, C, *n) of the signals, with one or two dimensions n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from nas_lightning.errors import UsageError
from nas_lightning.operators import Operator, build_operator
from nas_lightning.spaces.reconstruction.patches import patch_size, patches


@dataclass(frozen=True)
class Problem:
    """An inverse problem, as the data module specifies it.

    Attributes:
        operator: Forward operator A.
        channels: Number of channels C of a signal.
        dims: Number of spatial dimensions of a signal, 1 or 2.
    """

    operator: Operator
    channels: int
    dims: int

    @property
    def patch(self) -> int:
        """Number P of values that a filter reads at a position."""
        return patch_size(self.channels, self.dims)


def problem_of(data_spec: Mapping[str, Any]) -> Problem:
    """Return the inverse problem of a `data_spec`, from `operator`, `in_channels` and `dims`.

    Raises:
        UsageError: The data is not of an inverse problem.
    """
    missing = [name for name in ("operator", "in_channels", "dims") if name not in data_spec]
    if missing:
        raise UsageError(
            f"a reconstruction needs measurements of signals, but the data_spec of this data "
            f"has no {missing[0]}, only {', '.join(data_spec)}: use data of an inverse problem"
        )
    operator = build_operator(data_spec["operator"])
    return Problem(operator, data_spec["in_channels"], data_spec["dims"])


@dataclass(frozen=True)
class Measurement:
    """Measurements y (B, C, *m) of signals, and the operator A that produced them."""

    operator: Operator
    y: Tensor

    def start(self) -> State:
        """Return the initial state u_0 = A'y."""
        return State(self, self.operator.adjoint(self.y))


SIGNALS = ("u", "data_gradient", "shifted")
"""Attributes of `State` that operations add to a mixture without filters."""


@dataclass(frozen=True)
class State:
    """A state u (B, C, *n) of the reconstruction of a measurement.

    Quantities that several operations need are computed once, at their first use.
    """

    measurement: Measurement
    u: Tensor

    @cached_property
    def data_gradient(self) -> Tensor:
        """Gradient of the data term, A'(Au - y) (B, C, *n)."""
        operator, y = self.measurement.operator, self.measurement.y
        return operator.adjoint(operator(self.u) - y)

    @cached_property
    def patches(self) -> Tensor:
        """Patch around every position (P, B·n)."""
        return patches(self.u)

    @cached_property
    def shifted(self) -> Tensor:
        """Signal u (B, C, *n), rolled by a quarter of its size in each dimension."""
        spatial = tuple(range(2, self.u.dim()))
        return self.u.roll([self.u.shape[dim] // 4 for dim in spatial], spatial)

    def then(self, u: Tensor) -> State:
        """Return another state of the same reconstruction."""
        return State(self.measurement, u)
