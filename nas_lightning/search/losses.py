"""The two losses of a search, each computed by one pass of the supernet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from nas_lightning.search.agreement import CellGradients
from nas_lightning.search.plan import SearchPlan
from nas_lightning.search.slots import OUTER_BATCH, WEIGHT_MIXING
from nas_lightning.supernet import ArchitectureParameters, Mixing, Supernet
from nas_lightning.supernet.execution import UnmovedBuffers
from nas_lightning.tasks import Task
from nas_lightning.training.streams import Streams


class Pass(NamedTuple):
    """The result of one forward pass.

    Attributes:
        output: Output of the supernet.
        task_loss: Loss of the task (), which is logged.
        loss: Inner or outer loss (), which is differentiated.
    """

    output: Any
    task_loss: Tensor
    loss: Tensor


@dataclass(frozen=True)
class Losses:
    """The inner and the outer loss of a search.

    Attributes:
        supernet: The supernet.
        arch: Architecture parameters α, β.
        task: Loss and metrics.
        streams: States that the task carries from batch to batch.
        plan: Chooses the half of the outer loss and adds the penalties.
        auxiliary_weight: Weight of the auxiliary head's loss in the inner loss.
        cell_gradients: Keeps the gradients of the outer loss by each cell's weights; `None` for no
            such gradients.
    """

    supernet: Supernet
    arch: ArchitectureParameters
    task: Task
    streams: Streams
    plan: SearchPlan
    auxiliary_weight: float
    cell_gradients: CellGradients | None = None

    @property
    def outer_half(self) -> Literal["train", "val"]:
        """Half of the batch that the outer loss is computed on."""
        return self.plan[OUTER_BATCH]

    @property
    def outer_stream(self) -> Literal["weight", "arch"]:
        """Stream whose carried state the outer loss starts from."""
        return "arch" if self.outer_half == "val" else "weight"

    def inner(self, batch: Any, arch_fixed: bool = False, regularized: bool = True) -> Pass:
        """Compute the inner loss, with the auxiliary head's share and the task's regularization.

        Args:
            batch: The weight half.
            arch_fixed: If True, the loss is that of the weight step: it does not depend on α, β.
            regularized: If False, the regularization is left out. For losses that depend on α, β.
        """
        if not arch_fixed:
            return self._inner(batch, self.arch.sample("arch"), regularized)
        mixing = self.arch.sample("weight").detach()

        def loss(other: Mixing) -> Tensor:
            # in evaluation mode nothing moves them, and a backward pass may still read them
            moving = [self.supernet] if self.supernet.training else []
            with UnmovedBuffers(moving):
                return self._inner(batch, other).loss

        return self._inner(batch, self.plan[WEIGHT_MIXING](mixing, loss))

    def _inner(self, batch: Any, mixing: Mixing, regularized: bool = True) -> Pass:
        inputs = self.streams.inputs("weight", batch)
        output, auxiliary = self.supernet.with_auxiliary(inputs, mixing)
        task_loss = self.task.loss(output, batch)
        loss = task_loss
        if regularized:
            loss = loss + self.task.regularization(output)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self.task.loss(auxiliary, batch)
        return Pass(output, task_loss, loss)

    def outer(self, half: Any) -> Pass:
        """Compute the outer loss, with the penalties of the plan.

        Args:
            half: The half `outer_half` of a batch.
        """
        inputs = self.streams.inputs(self.outer_stream, half)
        output = self.supernet(inputs, self.arch_mixing())
        task_loss = self.task.loss(output, half)
        return Pass(output, task_loss, self.plan.outer_loss(task_loss, self.arch))

    def arch_mixing(self) -> Mixing:
        """Return the mixing weights of the outer loss, with what watches their gradients."""
        mixing = self.arch.sample("arch")
        return mixing if self.cell_gradients is None else self.cell_gradients.watched(mixing)

    def detached(self, found: Pass) -> Pass:
        """Return the result of a pass without its graph."""
        output = self.task.detached(found.output)
        return Pass(output, found.task_loss.detach(), found.loss.detach())
