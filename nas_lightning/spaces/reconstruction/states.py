"""The inverse problem of a reconstruction, and the states on the way to its solution.

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
    """An inverse problem, as the data module says it.

    Attributes:
        operator: A.
        channels: Channels C of a signal.
        dims: Its spatial dimensions, 1 or 2.
    """

    operator: Operator
    channels: int
    dims: int

    @property
    def patch(self) -> int:
        """Numbers P in what a filter reads at a place."""
        return patch_size(self.channels, self.dims)


def problem_of(data_spec: Mapping[str, Any]) -> Problem:
    """The inverse problem of a data module: `operator`, `in_channels` and `dims`.

    Raises:
        UsageError: The data is of another kind.
    """
    missing = [name for name in ("operator", "in_channels", "dims") if name not in data_spec]
    if missing:
        raise UsageError(
            f"a reconstruction needs measurements of signals, and the data is of another kind: "
            f"its data_spec has no {missing[0]}, only {', '.join(data_spec)}"
        )
    operator = build_operator(data_spec["operator"])
    return Problem(operator, data_spec["in_channels"], data_spec["dims"])


@dataclass(frozen=True)
class Measurement:
    """What is known of the signals: measurements y (B, C, *m) and the operator A behind them."""

    operator: Operator
    y: Tensor

    def start(self) -> State:
        """The initial state u_0 = A'y."""
        return State(self, self.operator.adjoint(self.y))


SIGNALS = ("u", "data_gradient", "shifted")
"""What of a state operations take as it is: attributes of `State`."""


@dataclass(frozen=True)
class State:
    """A state u (B, C, *n) of the reconstruction of a measurement.

    What several operations need of it is computed once, when it is first asked for.
    """

    measurement: Measurement
    u: Tensor

    @cached_property
    def data_gradient(self) -> Tensor:
        """A'(Au - y) (B, C, *n)."""
        operator, y = self.measurement.operator, self.measurement.y
        return operator.adjoint(operator(self.u) - y)

    @cached_property
    def patches(self) -> Tensor:
        """The patch around every place (P, B·n)."""
        return patches(self.u)

    @cached_property
    def shifted(self) -> Tensor:
        """U (B, C, *n), rolled by a quarter of its size in each dimension."""
        spatial = tuple(range(2, self.u.dim()))
        return self.u.roll([self.u.shape[dim] // 4 for dim in spatial], spatial)

    def then(self, u: Tensor) -> State:
        """Another state of the same reconstruction."""
        return State(self.measurement, u)
