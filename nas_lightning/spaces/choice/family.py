"""Registry entry of networks with choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from nas_lightning.architecture import Genotype, NetworkFactory, SearchSpace
from nas_lightning.architecture.prices import Prices
from nas_lightning.architecture.resources import Resource
from nas_lightning.errors import UsageError
from nas_lightning.spaces.choice.network import ChoiceNetwork
from nas_lightning.spaces.choice.prices import choice_prices
from nas_lightning.spaces.choice.space import ChoiceSpace
from nas_lightning.spaces.choice.supernet import ChoiceSupernet
from nas_lightning.spaces.registry import SpaceFamily, register_space


@register_space
class Choices(SpaceFamily):
    """Networks with choices."""

    spaces = (ChoiceSpace,)
    supernet = ChoiceSupernet
    network = ChoiceNetwork
    sizes: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def supernet_arguments(cls, space: SearchSpace) -> dict[str, Any]:
        """Return the network that was searched, and its arguments."""
        assert isinstance(space, ChoiceSpace)
        return {"network": space.network, "arguments": space.arguments}

    @classmethod
    def prices(
        cls,
        space: SearchSpace,
        network: NetworkFactory,
        data_spec: Mapping[str, Any],
        resource: Resource,
    ) -> Prices:
        """Return the cost of every network that the choices contain.

        Raises:
            UsageError: The factory builds other networks, or the resource cannot be counted.
        """
        if not isinstance(network, ChoiceNetwork):
            raise UsageError(
                f"the networks of {space.name} are built by ChoiceNetwork, found {network}"
            )
        with torch.device("meta"):
            opened = network.open(space, data_spec)
        return choice_prices(opened, resource, cls.inputs(data_spec))

    @classmethod
    def data_of(cls, genotype: Genotype) -> Mapping[str, Any]:
        """Return the sizes of the data of the search, as far as the genotype records them."""
        data = genotype.provenance.get("data")
        sizes = data if isinstance(data, Mapping) else {}
        return {**cls.data, **{k: v for k, v in sizes.items() if type(v) is int and v > 0}}
