"""A user's network with the candidates that a genotype chooses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import nn

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.architecture.genotype_cells import chosen_candidates
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError
from nas_lightning.layers.choice import frozen_copy
from nas_lightning.spaces.choice.build import build_network
from nas_lightning.spaces.choice.space import ChoiceSpace


def freeze(network: nn.Module, genotype: Genotype | Mapping[str, str] | str | Path) -> nn.Module:
    """Return a copy of a network with the chosen candidates in place of its choices.

    The names of its parameters are those of a network that was written with the chosen modules.
    The result is an ordinary module, which does not need this package.

    Args:
        network: A module with choices, which is left as it is.
        genotype: A genotype, its file or run directory, or the name of a candidate for each choice.

    Raises:
        UsageError: A choice or candidate is unknown or missing.
        GenotypeError: The file is not a valid genotype.
    """
    if isinstance(genotype, str | Path):
        genotype = Genotype.load(_file(Path(genotype)))
    if isinstance(genotype, Genotype):
        if not isinstance(genotype.space, ChoiceSpace):
            raise UsageError(
                f"freeze needs a genotype of a network with choices, found one of "
                f"{genotype.space.name}"
            )
        genotype = chosen_candidates(genotype.cells)
    return frozen_copy(network, genotype)


def _file(path: Path) -> Path:
    return path / "genotype.json" if path.is_dir() else path


class FrozenNetwork(RetrainNetwork):
    """A network without choices.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def body(self) -> nn.Module:
        """The network itself, whose weights have the names of one written without choices."""
        return self.network

    def forward(self, x: Any) -> tuple[Any, None]:
        """Return the output of the network for inputs x, and `None`."""
        return self.network(x), None


@final
class ChoiceNetwork(NetworkFactory):
    """Factory of the network that a genotype chooses from a network with choices.

    Args:
        network: Import path of the network; by default the one that was searched.
        arguments: Arguments of its constructor that replace those of the search, such as a larger
            width. Its choices must stay the same.
    """

    def __init__(self, network: str | None = None, arguments: dict[str, Any] | None = None) -> None:
        self.network = network
        self.arguments = arguments

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> FrozenNetwork:
        """Build the network.

        Raises:
            UsageError: The genotype belongs to another space, an auxiliary head is requested, or
                the network cannot be built or has other choices.
        """
        network = self.open(genotype.space, data_spec)
        if auxiliary:
            path = self.network or type(network).__name__
            raise UsageError(f"{path} has no auxiliary head: set auxiliary_weight to 0")
        return FrozenNetwork(freeze(network, genotype))

    def open(self, space: SearchSpace, data_spec: Mapping[str, Any]) -> nn.Module:
        """Build the network with its choices, in the size of the frozen one.

        Raises:
            UsageError: The space is that of other networks, or the network cannot be built.
        """
        if not isinstance(space, ChoiceSpace):
            raise UsageError(
                f"ChoiceNetwork needs a genotype of a network with choices, found a genotype of "
                f"{space.name}"
            )
        arguments = {**space.arguments, **(self.arguments or {})}
        return build_network(self.network or space.network, arguments, data_spec)
