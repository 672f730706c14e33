"""Parameters and multiply-adds of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.architecture.genotype import Genotype
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: Number of parameters without the auxiliary head.
        parameters_with_auxiliary: Number of parameters with the auxiliary head; `None` if the
            network cannot have one.
        multiply_adds: Multiply-adds of convolutions and linear layers for one image, without the
            auxiliary head. Papers often count further layers, so published figures are larger.
        image_size: Height and width of the image, in pixels.
    """

    parameters: int
    parameters_with_auxiliary: int | None
    multiply_adds: int
    image_size: int


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def network_cost(factory: NetworkFactory, genotype: Genotype, data_spec: Mapping[str, Any]) -> Cost:
    """Return the cost of a genotype's network for images, without allocating the network.

    Args:
        factory: Factory of the network.
        genotype: Genotype with the cells.
        data_spec: `in_channels`, `num_classes` and `image_size`.

    Raises:
        UsageError: The sizes do not fit together.
    """

    def build(auxiliary: bool) -> RetrainNetwork:
        with torch.device("meta"):
            return factory.build(genotype, data_spec, auxiliary)

    network = build(auxiliary=False)
    try:
        whole = count_parameters(build(auxiliary=True))
    except UsageError:  # the images are too small, or the network has no auxiliary head
        whole = None
    size = data_spec["image_size"]
    image = torch.empty(1, data_spec["in_channels"], size, size, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(image)
    # the counter counts two operations per multiply-add
    return Cost(count_parameters(network), whole, counter.get_total_flops() // 2, size)
