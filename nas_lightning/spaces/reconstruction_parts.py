"""What an edge of an unrolled reconstruction may do to a state, in one and two dimensions.

All of it keeps the shape (B, C, *n) of a state. Convolutions wrap around, as circular blurs do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.operators import Operator, build_operator
from nas_lightning.spaces.patches import patch_size, patches, spread

FRESH_STEP = 0.5413
"""softplus of it is 1: the step size τ that a fresh operation starts from."""

FRESH_SLOPE = 0.1
"""Mean of the eigenvalues of K'K for fresh filters K; from 2 on, u - K'Ku would overshoot."""


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


@dataclass(frozen=True)
class Sizes:
    """Sizes of the operations.

    Attributes:
        filters: Filters F of a regulariser.
        channels: Channels H inside `residual_cnn`.

    Raises:
        UsageError: One is not positive.
    """

    filters: int
    channels: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name, size in (("filters", self.filters), ("channels", self.channels)):
            if size < 1:
                raise UsageError(f"{name} must be at least 1, found {size}")


@dataclass(frozen=True)
class Measurement:
    """What is known of the signals: measurements y (B, C, *m) and the operator A behind them."""

    operator: Operator
    y: Tensor

    def start(self) -> State:
        """The initial state u_0 = A'y."""
        return State(self, self.operator.adjoint(self.y))


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


class Operation(nn.Module, ABC):
    """An operation on an edge."""

    @abstractmethod
    def forward(self, state: State) -> Tensor:
        """What the edge gives (B, C, *n)."""


class Nothing(Operation):
    """`none`: zeros."""

    def forward(self, state: State) -> Tensor:
        """Zeros (B, C, *n)."""
        return torch.zeros_like(state.u)


class Keep(Operation):
    """`skip_connect`: the state as it is."""

    def forward(self, state: State) -> Tensor:
        """The state (B, C, *n)."""
        return state.u


class Shift(Operation):
    """`shift`: the state, rolled by a quarter of its size in each dimension.

    It does harm by design, so that a search can be seen to leave it out.
    """

    def forward(self, state: State) -> Tensor:
        """The state, rolled (B, C, *n)."""
        return state.shifted


class Stepping(Operation, ABC):
    """u - τ d(u), with a step size τ = softplus(a), a learned."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(FRESH_STEP))

    def forward(self, state: State) -> Tensor:
        """The state behind the step (B, C, *n)."""
        return state.u - self.size() * self.direction(state)

    def size(self) -> Tensor:
        """The step size τ ()."""
        return F.softplus(self.raw)

    @abstractmethod
    def direction(self, state: State) -> Tensor:
        """What the step goes against (B, C, *n)."""


class DataGradient(Stepping):
    """`data_gradient`: down the slope of |Au - y|² / 2."""

    def direction(self, state: State) -> Tensor:
        """A'(Au - y) (B, C, *n)."""
        return state.data_gradient


class Regularizer(Stepping):
    """`regularizer`: down the slope of a learned penalty, the sum of log cosh(Ku).

    The slope is R(u) = K' tanh(Ku), with F filters K and K' the transposed convolution.

    Args:
        problem: The inverse problem.
        sizes: Sizes.
    """

    def __init__(self, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        # on white noise |Ku|² is the sum of the squares of all filters, times |u|² / C
        deviation = (FRESH_SLOPE * problem.channels / (sizes.filters * problem.patch)) ** 0.5
        self.filters = nn.Parameter(deviation * torch.randn(sizes.filters, problem.patch))

    def direction(self, state: State) -> Tensor:
        """R(u) (B, C, *n)."""
        seen = torch.tanh(self.filters @ state.patches)
        return spread(self.filters.T @ seen, state.u.shape)


class GradientStep(Regularizer):
    """`gradient_step`: down the slope of both together."""

    def direction(self, state: State) -> Tensor:
        """A'(Au - y) + R(u) (B, C, *n)."""
        return state.data_gradient + super().direction(state)


class ResidualCNN(Operation):
    """`residual_cnn`: u + N(u), N three convolutions of widths 5, 1, 5 with ReLU between them.

    Args:
        problem: The inverse problem.
        sizes: Sizes.
    """

    def __init__(self, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        patch, channels = problem.patch, sizes.channels
        self.first = nn.Linear(patch, channels)
        self.second = nn.Linear(channels, channels)
        # as PyTorch initialises convolutions: by the inputs of an output
        bound = (channels * patch / problem.channels) ** -0.5
        self.last = nn.Parameter(torch.empty(patch, channels).uniform_(-bound, bound))

    def forward(self, state: State) -> Tensor:
        """The corrected state (B, C, *n)."""
        first, second = self.first, self.second
        hidden = torch.addmm(first.bias[:, None], first.weight, state.patches).relu()
        hidden = torch.addmm(second.bias[:, None], second.weight, hidden).relu()
        return state.u + spread(self.last @ hidden, state.u.shape)


OPERATIONS: Mapping[str, Callable[[Problem, Sizes], Operation]] = {
    "none": lambda problem, sizes: Nothing(),  # noqa: ARG005 (one signature for all)
    "skip_connect": lambda problem, sizes: Keep(),  # noqa: ARG005 (as above)
    "data_gradient": lambda problem, sizes: DataGradient(),  # noqa: ARG005 (as above)
    "regularizer": Regularizer,
    "gradient_step": GradientStep,
    "residual_cnn": ResidualCNN,
    "shift": lambda problem, sizes: Shift(),  # noqa: ARG005 (as above)
}
"""Name → builder."""


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
