"""The objects that both steps of a search work with."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas_lightning.search.losses import Losses
from nas_lightning.search.passes import Graphs
from nas_lightning.training.stage import Stage


class Check(Protocol):
    """Checks that a step is finite before its optimizer takes it, see `Stage.check_step`."""

    def __call__(self, step: str, loss: Tensor, optimizer: Optimizer) -> Tensor:
        """Return the norm of the gradients ()."""


class Report(Protocol):
    """Logs the loss and metrics of a batch, see `Streams.report`."""

    def __call__(self, stream: str, name: str, batch: Any, output: Any, loss: Tensor) -> None:
        """Log them as `<name>_loss` and `<name>_<metric>`."""


class SupernetParts:
    """Parts of a supernet, gathered once because that takes milliseconds.

    Args:
        supernet: The supernet.
    """

    def __init__(self, supernet: nn.Module) -> None:
        self.supernet = supernet

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """Weights by name."""
        return dict(self.supernet.named_parameters())

    @cached_property
    def buffered(self) -> list[nn.Module]:
        """Modules that have buffers."""
        return [m for m in self.supernet.modules() if any(True for _ in m.buffers(recurse=False))]

    def decided(self, learned: Iterable[str]) -> Hashable:
        """Return the choices of Python that can change a pass, see `Graphs.run`.

        Args:
            learned: Names of the parameters that a gradient is taken of.
        """
        training = tuple(part.training for part in self.buffered)
        return tuple(learned), self.supernet.training, training


@dataclass(frozen=True)
class StepContext:
    """The objects that both steps of a search work with.

    Attributes:
        losses: The inner and the outer loss.
        parts: Weights of the supernet, and its modules that have buffers.
        device: Device of the search.
        graphs: Captures and replays passes; `None` runs them directly.
        check: Checks a step.
        report: Logs a batch.
        networks: Networks of the strategies, by name.
        optimizers: Their optimizers.
    """

    losses: Losses
    parts: SupernetParts
    device: torch.device
    graphs: Graphs | None
    check: Check
    report: Report
    networks: Mapping[str, nn.Module] = field(default_factory=dict)
    optimizers: Mapping[str, Optimizer] = field(default_factory=dict)

    def take(self, step: str, loss: Tensor, optimizer: Optimizer, limit: float | None) -> None:
        """Check a step, clip its gradients and step the optimizer.

        Args:
            step: Name of the step in messages.
            loss: Its loss ().
            optimizer: Steps on the gradients that its parameters hold.
            limit: Largest norm of the gradients; `None` for no clipping.

        Raises:
            DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
        """
        norm = self.check(step, loss, optimizer)
        Stage.clip(optimizer, limit, norm)
        optimizer.step()
