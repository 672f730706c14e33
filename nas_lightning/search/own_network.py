"""Networks that strategies train beside the supernet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nas_lightning.supernet import Supernet
from nas_lightning.training.schedules import Schedule


def nothing(network: nn.Module) -> Iterable[nn.Parameter]:  # noqa: ARG001 (one signature)
    """Return no parameters."""
    return ()


@dataclass(frozen=True)
class OwnNetwork:
    """A network of a strategy, and how it is trained.

    `SearchModule.networks` holds the network, so checkpoints, moves to a device and changes of
    precision include it. Its optimizer follows those of the weights and of α, β. DDP does not
    average its gradients, apart from those of parts of the supernet that it shares: the strategy
    computes them in the slot `ARCH_STEP` and averages them by `mean_over_ranks`.

    Attributes:
        name: Its name in `SearchModule.networks`.
        build: Builds it from the supernet. It may hold parts of the supernet.
        optimizer: Builds the optimizer of all of its parameters that require gradients, those of
            shared parts included.
        schedule: Schedule of this optimizer.
        also_in_weights: Returns parameters of the network that the optimizer of the supernet's
            weights steps too; none by default.
    """

    name: str
    build: Callable[[Supernet], nn.Module]
    optimizer: Callable[[Any], Optimizer]
    schedule: Schedule
    also_in_weights: Callable[[Any], Iterable[nn.Parameter]] = nothing


def learned(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a network that require gradients."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class OwnNetworks(nn.ModuleDict):
    """The networks of all strategies, by name.

    Args:
        plans: How each is built and trained.
        supernet: The supernet.
    """

    def __init__(self, plans: Sequence[OwnNetwork], supernet: Supernet) -> None:
        super().__init__({plan.name: plan.build(supernet) for plan in plans})
        self.plans = tuple(plans)
        shared = {id(value) for value in (*supernet.parameters(), *supernet.buffers())}
        named = (*self.named_parameters(prefix="networks"), *self.named_buffers(prefix="networks"))
        self.apart = [name for name, value in named if id(value) not in shared]
        """Names of parameters and buffers that the supernet does not share, `networks.…`."""

    def also_in_weights(self) -> list[nn.Parameter]:
        """Return the parameters that the optimizer of the supernet's weights steps too."""
        found = (plan.also_in_weights(self[plan.name]) for plan in self.plans)
        return list(itertools.chain.from_iterable(found))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return a new optimizer of each network, by `networks.` and its name."""
        return {f"networks.{p.name}": p.optimizer(learned(self[p.name])) for p in self.plans}
