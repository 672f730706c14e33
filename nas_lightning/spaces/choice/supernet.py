"""The supernet of a user's network: its choices mix their candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, final

from torch import nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.choice import Choice, choices_of
from nas_lightning.layers.own import use_batch_statistics
from nas_lightning.spaces.choice.build import build_network, checked_choices
from nas_lightning.spaces.choice.space import ChoiceSpace
from nas_lightning.supernet.base import Supernet, SupernetFactory, check_one_execution
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Mixing


class MixedNetwork(Supernet):
    """A network whose choices mix their candidates.

    Args:
        network: A network with choices.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._choices = choices_of(network)

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """Number of choices by group; a choice without a group is one by itself."""
        return {name: len(group) for name, group in self._choices.items()}

    def forward(self, x: Any, mixing: Mixing) -> Any:
        """Return the output of the network for inputs x; choices of a group share their weights."""
        with ExitStack() as stack:
            for name, group in self._choices.items():
                for index, choice in enumerate(group):
                    (weights,), _, active = mixing.of(name, index)
                    runs = None if active is None else active[0]
                    stack.enter_context(choice.mixed(weights, runs))
            return self.network(x)


@final
class ChoiceSupernet(SupernetFactory):
    """Factory of the supernet of any network that contains `Choice` modules.

    Args:
        network: Import path of the network, a subclass of `torch.nn.Module`, such as
            `my_net.MyNet`. Its `forward` takes the inputs of the task and returns the output that
            the task expects. Its class may name a subclass of `ChoiceSpace` as `search_space`,
            whose family then serves its genotypes.
        arguments: Arguments of its constructor. Those that have the name of an entry of the data's
            sizes, such as `in_channels` and `num_classes`, are set from the data.
        running_stats: Batch norms keep running statistics. If False, every pass uses the
            statistics of its own batch, as in the other supernets: those of a mixture do not fit
            a network with one candidate at each choice.

    Raises:
        UsageError: The network cannot be built, or its choices do not fit together.
    """

    def __init__(
        self, network: str, arguments: dict[str, Any] | None = None, running_stats: bool = False
    ) -> None:
        self.network = network
        self.arguments = arguments
        self.running_stats = running_stats

    @property
    def space(self) -> ChoiceSpace:
        """Not available without data: a network may have other choices for other data.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"the choices of {self.network} depend on the data: call space_of")

    def space_of(self, data_spec: Mapping[str, Any]) -> ChoiceSpace:
        """Return the space of the network's choices for data of these sizes.

        Raises:
            UsageError: The network cannot be built, or its choices do not fit together.
        """
        network = checked_choices(self.network, self.arguments or {}, data_spec)
        found = choices_of(network)
        choices = {name: list(group[0].names) for name, group in found.items()}
        skips = {name: skips for name, group in found.items() if (skips := _skips(group))}
        kind: type[ChoiceSpace] = getattr(type(network), "search_space", ChoiceSpace)
        return kind(self.network, self.arguments or {}, choices, skips or None)

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> MixedNetwork:
        """Build the supernet.

        Raises:
            UsageError: K is not 1, an auxiliary head or another execution is requested, or the
                network cannot be built.
        """
        if k != 1:
            raise UsageError(
                f"PartialChannels: the candidates of {self.network} compute all channels; remove it"
            )
        if auxiliary:
            raise UsageError(f"{self.network} has no auxiliary head: set auxiliary_weight to 0")
        check_one_execution(execution, f"the network {self.network}")
        network = build_network(self.network, self.arguments or {}, data_spec)
        if not self.running_stats:
            use_batch_statistics(network)
        return MixedNetwork(network)


def _skips(group: Sequence[Choice]) -> list[str]:
    """Return the candidates that are `nn.Identity` in every choice of a group."""
    return [
        name
        for name in group[0].names
        if all(isinstance(choice.candidates[name], nn.Identity) for choice in group)
    ]
