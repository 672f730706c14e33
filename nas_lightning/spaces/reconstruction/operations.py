"""What an edge of an unrolled reconstruction may do to a state, in one and two dimensions.

All of it keeps the shape (B, C, *n) of a state. Convolutions wrap around, as circular blurs do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.spaces.reconstruction.patches import spread
from nas_lightning.spaces.reconstruction.states import Problem, State

FRESH_STEP = 0.5413
"""softplus of it is 1: the step size τ that a fresh operation starts from."""

FRESH_SLOPE = 0.1
"""Mean of the eigenvalues of K'K for fresh filters K; from 2 on, u - K'Ku would overshoot."""


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


class Operation(nn.Module, ABC):
    """An operation on an edge.

    It runs alone, or it has a share in a mixture, of which all operations are computed together:
    the sum of its factors times their signals, and what its filters see, if it has any.
    """

    @abstractmethod
    def forward(self, state: State) -> Tensor:
        """What the edge gives (B, C, *n)."""

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """What it takes of a state as it is: factors (), by name of the signal in `SIGNALS`.

        Args:
            share: Its share in the mixture ().
        """
        return {"u": share}


class Filtering(Operation, ABC):
    """An operation that looks at a state through filters, and spreads what they see."""

    @staticmethod
    @abstractmethod
    def look(ops: Sequence[Any], state: State) -> Sequence[Tensor]:
        """What the filters of operations see in a state, each (F or H, B·n), in one product.

        Args:
            ops: Operations that have this way to look in common.
            state: The state.
        """

    @abstractmethod
    def columns(self, share: Tensor) -> Tensor:
        """What spreads what the filters see, scaled by a share () in a mixture (P, F or H)."""


class Nothing(Operation):
    """`none`: zeros."""

    def forward(self, state: State) -> Tensor:
        """Zeros (B, C, *n)."""
        return torch.zeros_like(state.u)

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """None: its share damps."""
        return {}


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

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """That of the rolled state."""
        return {"shifted": share}


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

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Those of the state and of the slope."""
        return {"u": share, "data_gradient": -share * self.size()}


class Regularizer(Stepping, Filtering):
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

    @staticmethod
    def look(ops: Sequence[Regularizer], state: State) -> Sequence[Tensor]:
        """tanh(Ku) of each (F, B·n)."""
        rows = torch.tanh(torch.cat([op.filters for op in ops]) @ state.patches)
        return rows.chunk(len(ops))

    def columns(self, share: Tensor) -> Tensor:
        """K', scaled by the step (P, F)."""
        return -share * self.size() * self.filters.T


class GradientStep(Regularizer):
    """`gradient_step`: down the slope of both together."""

    def direction(self, state: State) -> Tensor:
        """A'(Au - y) + R(u) (B, C, *n)."""
        return state.data_gradient + super().direction(state)

    def factors(self, share: Tensor) -> Mapping[str, Tensor]:
        """Those of the state and of the slope of the data term."""
        return {"u": share, "data_gradient": -share * self.size()}


class ResidualCNN(Filtering):
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

    @staticmethod
    def look(ops: Sequence[ResidualCNN], state: State) -> Sequence[Tensor]:
        """What the last convolution of each reads (H, B·n)."""
        weight = torch.cat([op.first.weight for op in ops])
        bias = torch.cat([op.first.bias for op in ops])[:, None]
        hidden = torch.addmm(bias, weight, state.patches).relu()
        hidden = hidden.view(len(ops), -1, hidden.shape[-1])
        weight = torch.stack([op.second.weight for op in ops])
        bias = torch.stack([op.second.bias for op in ops])[:, :, None]
        return torch.baddbmm(bias, weight, hidden).relu().unbind()

    def columns(self, share: Tensor) -> Tensor:
        """The last convolution, scaled (P, H)."""
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
"""Name → builder."""
