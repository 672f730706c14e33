"""Entries of parameters that an optimizer leaves exactly as they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


class FrozenEntries:
    """A context that leaves some entries of parameters alone, and their state in an optimizer.

    Momentum and weight decay would move entries whose gradient is zero. At the start of the context
    the gradients of frozen entries become zero. At its end these entries have their earlier values,
    and so has the optimizer's state of them, such as Adam's moments, which is zero before the first
    step.

    Args:
        optimizer: Steps inside the context.
        values: Parameters by name, with their gradients.
        masks: By name, True for frozen entries; parameters that are left out have none.
    """

    def __init__(
        self, optimizer: Optimizer, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> None:
        self.optimizer = optimizer
        self.frozen = [(values[name], mask) for name, mask in masks.items() if name in values]
        self._before: list[tuple[Tensor, dict[str, Tensor]]] = []

    def __enter__(self) -> None:
        """Keep the values and the state, and remove the gradients."""
        for value, mask in self.frozen:
            state = {name: part.clone() for name, part in self._state(value).items()}
            self._before.append((value.detach().clone(), state))
            if value.grad is not None:
                value.grad = value.grad.masked_fill(mask, 0)

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        """Restore the values and the state."""
        for (value, mask), (kept, before) in zip(self.frozen, self._before, strict=True):
            value.copy_(torch.where(mask, kept, value))
            for name, part in self._state(value).items():
                earlier = before.get(name, torch.zeros_like(part))
                part.copy_(torch.where(mask, earlier, part))

    def _state(self, value: Tensor) -> dict[str, Tensor]:
        """Return the tensors of the optimizer's state that have the shape of a parameter."""
        state = self.optimizer.state.get(value, {})
        return {
            name: part
            for name, part in state.items()
            if isinstance(part, Tensor) and part.shape == value.shape
        }
