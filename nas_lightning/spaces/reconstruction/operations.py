"""Operations on the edges of an unrolled reconstruction, in one or two dimensions.

All operations keep the shape (B, C, *n) of a state. Convolutions wrap around, as circular blurs do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.ranges import at_least, check
from nas_lightning.spaces.reconstruction.patches import spread
from nas_lightning.spaces.reconstruction.states import Problem, State

FRESH_STEP = 0.5413
"""Initial value a of a step size: τ = softplus(a) is 1."""

FRESH_SLOPE = 0.1
"""Mean eigenvalue of K'K for initial filters K. From 2 on, u - K'Ku would overshoot."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the operations.

    Attributes:
        filters: Number of filters F of a regulariser.
        channels: Number of channels H inside `residual_cnn`.

    Raises:
        UsageError: A size is not positive.
    """

    filters: int
    channels: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        check(self, filters=at_least(1), channels=at_least(1))


class Operation(nn.Module, ABC):
    """An operation on an edge.

    `forward` runs it alone. A mixture computes all its operations together: each adds its factors
    times the signals of the state and, if it has filters, their spread responses.
    """

    @abstractmethod
    def forward(self, state: State) -> Tensor:
        """Return the output of the edge (B, C, *n)."""

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Return the factors () of a state's signals in a mixture, by names of `SIGNALS`.

        Args:
            share: Share of the operation in the mixture ().
        """
        return {"u": share}


class Filtering(Operation, ABC):
    """An operation that applies filters to a state and spreads their responses."""

    @staticmethod
    @abstractmethod
    def look(ops: Sequence[Any], state: State) -> Sequence[Tensor]:
        """Compute the filter responses of several operations together, each (F or H, B·n).

        Args:
            ops: Operations that share this method.
            state: The state that the filters read.
        """

    @abstractmethod
    def columns(self, share: Tensor) -> Tensor:
        """Return the matrix (P, F or H) that spreads the responses, for a share () in a mixture."""


class Nothing(Operation):
    """`none`: zeros."""

    def forward(self, state: State) -> Tensor:
        """Return zeros (B, C, *n)."""
        return torch.zeros_like(state.u)

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Return no factors: the share of `none` damps the mixture."""
        return {}


class Keep(Operation):
    """`skip_connect`: the unchanged state."""

    def forward(self, state: State) -> Tensor:
        """Return the state (B, C, *n)."""
        return state.u


class Shift(Operation):
    """`shift`: the state, rolled by a quarter of its size in each dimension.

    It is harmful by design, to show that a search avoids it.
    """

    def forward(self, state: State) -> Tensor:
        """Return the rolled state (B, C, *n)."""
        return state.shifted

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Return the factor of the rolled state."""
        return {"shifted": share}


class Stepping(Operation, ABC):
    """A step u - τ d(u) with the step size τ = softplus(a), where a is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(FRESH_STEP))

    def forward(self, state: State) -> Tensor:
        """Return the state after the step (B, C, *n)."""
        return state.u - self.size() * self.direction(state)

    def size(self) -> Tensor:
        """Return the step size τ ()."""
        return F.softplus(self.raw)

    @abstractmethod
    def direction(self, state: State) -> Tensor:
        """Return the direction d(u) that the step subtracts (B, C, *n)."""


class DataGradient(Stepping):
    """`data_gradient`: a step down the gradient of the data term |Au - y|² / 2."""

    def direction(self, state: State) -> Tensor:
        """Return A'(Au - y) (B, C, *n)."""
        return state.data_gradient

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Return the factors of the state and of the data gradient."""
        return {"u": share, "data_gradient": -share * self.size()}


class Regularizer(Stepping, Filtering):
    """`regularizer`: a step down the gradient of a learned penalty, the sum of log cosh(Ku).

    The gradient is R(u) = K' tanh(Ku), with F filters K and the transposed convolution K'.

    Args:
        problem: The inverse problem.
        sizes: Sizes of the operations.
    """

    def __init__(self, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        # for white noise u, |Ku|² is the sum of squares of all filter weights times |u|² / C
        deviation = (FRESH_SLOPE * problem.channels / (sizes.filters * problem.patch)) ** 0.5
        self.filters = nn.Parameter(deviation * torch.randn(sizes.filters, problem.patch))

    def direction(self, state: State) -> Tensor:
        """Return R(u) (B, C, *n)."""
        seen = torch.tanh(self.filters @ state.patches)
        return spread(self.filters.T @ seen, state.u.shape)

    @staticmethod
    def look(ops: Sequence[Regularizer], state: State) -> Sequence[Tensor]:
        """Return tanh(Ku) of each operation (F, B·n)."""
        rows = torch.tanh(torch.cat([op.filters for op in ops]) @ state.patches)
        return rows.chunk(len(ops))

    def columns(self, share: Tensor) -> Tensor:
        """Return K', scaled by minus share and step size (P, F)."""
        return -share * self.size() * self.filters.T


class GradientStep(Regularizer):
    """`gradient_step`: a step down the gradient of data term and penalty together."""

    def direction(self, state: State) -> Tensor:
        """Return A'(Au - y) + R(u) (B, C, *n)."""
        return state.data_gradient + super().direction(state)

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Return the factors of the state and of the data gradient."""
        return {"u": share, "data_gradient": -share * self.size()}


class ResidualCNN(Filtering):
    """`residual_cnn`: u + N(u), where N has convolutions of widths 5, 1, 5 with ReLU between them.

    Args:
        problem: The inverse problem.
        sizes: Sizes of the operations.
    """

    def __init__(self, problem: Problem, sizes: Sizes) -> None:
        super().__init__()
        patch, channels = problem.patch, sizes.channels
        self.first = nn.Linear(patch, channels)
        self.second = nn.Linear(channels, channels)
        # as PyTorch initialises convolutions: by the number of inputs of an output
        bound = (channels * patch / problem.channels) ** -0.5
        self.last = nn.Parameter(torch.empty(patch, channels).uniform_(-bound, bound))

    def forward(self, state: State) -> Tensor:
        """Return the corrected state (B, C, *n)."""
        first, second = self.first, self.second
        hidden = torch.addmm(first.bias[:, None], first.weight, state.patches).relu()
        hidden = torch.addmm(second.bias[:, None], second.weight, hidden).relu()
        return state.u + spread(self.last @ hidden, state.u.shape)

    @staticmethod
    def look(ops: Sequence[ResidualCNN], state: State) -> Sequence[Tensor]:
        """Return the input of the last convolution of each operation (H, B·n)."""
        weight = torch.cat([op.first.weight for op in ops])
        bias = torch.cat([op.first.bias for op in ops])[:, None]
        hidden = torch.addmm(bias, weight, state.patches).relu()
        hidden = hidden.view(len(ops), -1, hidden.shape[-1])
        weight = torch.stack([op.second.weight for op in ops])
        bias = torch.stack([op.second.bias for op in ops])[:, :, None]
        return torch.baddbmm(bias, weight, hidden).relu().unbind()

    def columns(self, share: Tensor) -> Tensor:
        """Return the last convolution, scaled by the share (P, H)."""
        return share * self.last


OPERATIONS: Mapping[str, Callable[[Problem, Sizes], Operation]] = {
    "none": lambda problem, sizes: Nothing(),  # noqa: ARG005 (one signature for all)
    "skip_connect": lambda problem, sizes: Keep(),  # noqa: ARG005 (as above)
    "data_gradient": lambda problem, sizes: DataGradient(),  # noqa: ARG005 (as above)
    "regularizer": Regularizer,
    "gradient_step": GradientStep,
    "residual_cnn": ResidualCNN,
    "shift": lambda problem, sizes: Shift(),  # noqa: ARG005 (as above)
}
"""Builders of the operations, by name."""
