"""The steps of CDARTS: of the evaluation network alone, and of both networks and α."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from nas_lightning.distributed import mean_over_ranks
from nas_lightning.search.arch_step import take_arch_step
from nas_lightning.search.losses import Losses
from nas_lightning.search.step_context import StepContext
from nas_lightning.search.strategy import ArchStep
from nas_lightning.spaces.darts.supernet import CellSupernet
from nas_lightning.strategies.cdarts.distillation import Distance, Join, distance, joined
from nas_lightning.strategies.cdarts.evaluation import EvaluationNetwork
from nas_lightning.supernet.execution import UnmovedBuffers
from nas_lightning.training.optimizers import laid_out


class Joint(NamedTuple):
    """The joint loss of a batch and its parts.

    Attributes:
        output: Logits of the supernet's classifier (B, classes).
        search: Loss of the supernet ().
        evaluation: Loss of the evaluation network ().
        distillation: Distance D between the two ().
        total: The joint loss ().
    """

    output: Tensor
    search: Tensor
    evaluation: Tensor
    distillation: Tensor
    total: Tensor


@dataclass(frozen=True)
class JointLoss:
    """(loss(S) + loss(E)) / a + a T² D(S, E), and the penalties of the plan.

    Attributes:
        distance: The kind of D.
        temperature: T.
        balance: a.
        join: The way to join the logits of heads and classifier for D.
    """

    distance: Distance
    temperature: float
    balance: float
    join: Join

    def __call__(self, network: EvaluationNetwork, losses: Losses, half: Any) -> Joint:
        """Compute the loss on a batch of the architecture half."""
        images = losses.streams.inputs("arch", half)
        supernet = cast("CellSupernet", losses.supernet)
        search, own = network.both(supernet, images, losses.arch_mixing())
        parts = losses.task.loss(search[-1], half), losses.task.loss(own[-1], half)
        one, other = (joined(logits, network.shares, self.join) for logits in (search, own))
        apart = distance(self.distance, one, other, self.temperature)
        total = sum(parts) / self.balance + self.balance * self.temperature**2 * apart
        return Joint(search[-1], *parts, apart, losses.plan.outer_loss(total, losses.arch))


def evaluation_step(
    context: StepContext, network: EvaluationNetwork, half: Any, optimizer: Optimizer, limit: float
) -> dict[str, Tensor]:
    """Step the evaluation network alone.

    Args:
        context: Losses, checks and logs.
        network: The evaluation network.
        half: The architecture half of a batch.
        optimizer: Its optimizer.
        limit: Largest norm of the gradients; 0 for no clipping.

    Returns:
        Its loss (), the mean of all processes, by the name under which it is logged.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    with UnmovedBuffers(context.parts.buffered):
        task = context.losses.task
        loss = task.loss(network(context.losses.streams.inputs("arch", half)), half)
        parameters = _parameters(optimizer)
        gradients, (mean,) = averaged(loss, parameters, [loss])
    _give(gradients, parameters, limit)
    context.take("step of the evaluation network", loss.detach(), optimizer, None)
    optimizer.zero_grad()
    return {"cdarts/evaluation_loss": mean}


def joint_step(
    context: StepContext,
    network: EvaluationNetwork,
    half: Any,
    optimizers: tuple[Optimizer, Optimizer],
    limits: tuple[float, float | None],
    after: Callable[[ArchStep], None],
    loss: JointLoss,
) -> dict[str, Tensor]:
    """Step the evaluation network and α on the joint loss.

    The weights of the supernet get gradients, which count in the norm that is clipped, and are not
    stepped. The stem belongs to both networks and is.

    Args:
        context: Losses, checks and logs.
        network: The evaluation network.
        half: The architecture half of a batch.
        optimizers: Optimizer of the evaluation network, and optimizer of α and β.
        limits: Largest norm of all gradients together, 0 for no clipping; and largest norm of the
            gradients of α and β after that, `None` for no clipping.
        after: Called after the step of α, before it is projected.
        loss: The joint loss.

    Returns:
        Loss of the evaluation network () and D (), means of all processes, by the names under
        which they are logged.

    Raises:
        DivergedError: Loss or gradient is not finite, see `Stage.check_step`.
    """
    losses, (own, arch) = context.losses, optimizers
    alpha = {name: value for name, value in losses.arch.named().items() if value.requires_grad}
    stepped = [*_parameters(own), *alpha.values()]
    with UnmovedBuffers(context.parts.buffered):
        found = loss(network, losses, half)
        weights = (w for w in context.parts.weights.values() if w.requires_grad)
        parameters = list(dict.fromkeys([*stepped, *weights]))
        shown = [found.evaluation, found.distillation]
        gradients, means = averaged(found.total, parameters, shown)
    _give(gradients, stepped, limits[0])
    context.take("joint step", found.total.detach(), own, None)
    own.zero_grad()
    by_alpha = [torch.zeros_like(v) if v.grad is None else v.grad for v in alpha.values()]
    take_arch_step(context, alpha, by_alpha, found.search.detach(), arch, limits[1], after)
    output = losses.task.detached(found.output)
    context.report("arch", "search/arch", half, output, found.search.detach())
    losses.streams.carry("arch", output)
    return dict(zip(("cdarts/evaluation_loss", "cdarts/distillation"), means, strict=True))


def averaged(
    loss: Tensor, parameters: Sequence[Tensor], shown: Sequence[Tensor]
) -> tuple[dict[Tensor, Tensor], tuple[Tensor, ...]]:
    """Return the gradients of a loss, and other numbers, averaged over all processes.

    Args:
        loss: The loss ().
        parameters: Parameters. Those that the loss does not depend on are left out.
        shown: Numbers () to average with them.
    """
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    used = {p: g for p, g in zip(parameters, found, strict=True) if g is not None}
    means = mean_over_ranks([*used.values(), *(number.detach() for number in shown)])
    pairs = zip(used, means[: len(used)], strict=True)
    return {value: laid_out(mean, value) for value, mean in pairs}, means[len(used) :]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [value for group in optimizer.param_groups for value in group["params"]]


def _give(gradients: Mapping[Tensor, Tensor], stepped: Sequence[Tensor], limit: float) -> None:
    """Give parameters their gradients, clipped by the norm of all gradients together."""
    for value in stepped:
        value.grad = gradients.get(value)
    if limit:
        norm = get_total_norm(list(gradients.values()))
        clip_grads_with_norm_(stepped, limit, norm)
