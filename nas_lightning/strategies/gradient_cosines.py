"""Cosines between two gradients of the weights of each of many operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import get_total_norm

Reading = Literal["code", "paper"]
Stacked = list[Tensor]
"""Gradients of weights of one shape (S, d, r), for each shape: d is the first dimension of the
weights, r the product of the others."""


class GradientCosines:
    """Compares two gradients of the weights of n operations, without waiting for the device.

    Weights of one shape are compared together.

    Args:
        operations: Names of the weights of each operation, at least one.
        weights: Weights by name.
        reading: How the gradients of an operation are compared, see `paper` and `code`.

    Attributes:
        names: Names of the weights that are compared.
    """

    def __init__(
        self,
        operations: Sequence[Sequence[str]],
        weights: Mapping[str, Tensor],
        reading: Reading,
    ) -> None:
        if reading == "code":
            operations = [_kernels(each, weights) for each in operations]
        by_shape: dict[torch.Size, list[str]] = defaultdict(list)
        for operation in operations:
            for name in operation:
                by_shape[weights[name].shape].append(name)
        self._groups = list(by_shape.values())
        self.names = [name for group in self._groups for name in group]
        place = {name: i for i, name in enumerate(self.names)}
        most = max(map(len, operations), default=0)
        last = len(self.names)  # a zero follows the values of all weights
        rows = [[place[n] for n in each] + [last] * (most - len(each)) for each in operations]
        self._places = torch.tensor(rows, device=next(iter(weights.values())).device)
        self._rule = self.paper if reading == "paper" else self.code

    def stacked(self, gradients: Mapping[str, Tensor]) -> Stacked:
        """Return copies of the gradients of `names`, by shape."""
        groups = [torch.stack([gradients[name] for name in group]) for group in self._groups]
        return [
            group.reshape(len(group), group.shape[1] if group.dim() > 1 else 1, -1)
            for group in groups
        ]

    def __call__(self, train: Stacked, validation: Stacked) -> Tensor:
        """Return the cosine of each operation, and 1 where there is one, else 0 (2, n).

        An operation has none, and counts as 0, if one of its gradients is zero.

        Args:
            train: Gradients g_T of the inner loss.
            validation: Gradients g_V of the outer loss.
        """
        cosines, present = self._rule(train, validation)
        return torch.stack((torch.where(present, cosines, 0), present.to(cosines)))

    def paper(self, train: Stacked, validation: Stacked) -> tuple[Tensor, Tensor]:
        """Return cos(g_T, g_V) of all weights of an operation as one vector, and if it exists."""
        flat = [(a.flatten(1), b.flatten(1)) for a, b in zip(train, validation, strict=True)]
        dot = self._sums([torch.linalg.vecdot(a, b) for a, b in flat])
        lengths = [
            self._sums([torch.linalg.vecdot(part, part) for part in side]).sqrt()
            for side in zip(*flat, strict=True)
        ]
        return dot / (lengths[0] * lengths[1]), (lengths[0] > 0) & (lengths[1] > 0)

    def code(self, train: Stacked, validation: Stacked) -> tuple[Tensor, Tensor]:
        """Return the mean cosine of columns of g_T and g_T + g_V, and if there is one.

        A column is what a weight has along its first dimension. Cosines are averaged over the
        columns of a weight, and then over the weights of an operation. A column of zeros counts as
        0; a weight with a gradient of zero does not count. Weights of one dimension count only
        where an operation has no others: the operations of the released code have none, and the
        gradient of a bias before a batch norm is nothing but rounding.
        """
        pairs = list(zip(train, validation, strict=True))
        tiny = torch.finfo(train[0].dtype).tiny
        columns = [F.cosine_similarity(a, a + b, dim=1, eps=tiny).mean(dim=1) for a, b in pairs]
        present = [(a != 0).any(2).any(1) & (b != 0).any(2).any(1) for a, b in pairs]
        counted = [torch.where(p, value, 0) for value, p in zip(columns, present, strict=True)]
        number = self._sums([p.to(value) for value, p in zip(columns, present, strict=True)])
        return self._sums(counted) / number, number > 0

    def _sums(self, values: Sequence[Tensor]) -> Tensor:
        """Add the values of the weights (S,) of each shape up to those of operations (n,)."""
        flat = torch.cat([*values, values[0].new_zeros(1)])
        # not `index_add`, whose order on a GPU changes from run to run
        return flat[self._places].sum(dim=1)


def _kernels(names: Sequence[str], weights: Mapping[str, Tensor]) -> Sequence[str]:
    return [name for name in names if weights[name].dim() > 1] or names


def gradient(weight: Tensor) -> Tensor:
    """Return the gradient of a weight, zero if it has none."""
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def clip_factor(weights: Mapping[str, Tensor], limit: float | None) -> Tensor | float:
    """Return the factor by which the weight step is about to clip the gradients.

    Args:
        weights: The weights, with their gradients.
        limit: Largest norm of the gradients; `None` or 0 means no clipping.
    """
    if not limit:
        return 1.0
    norm = get_total_norm([w.grad for w in weights.values() if w.grad is not None])
    return (limit / (norm + 1e-6)).clamp_max(1)
