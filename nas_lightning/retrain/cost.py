"""What a network costs: parameters and multiply-adds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.architecture import Genotype
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: Without the auxiliary head.
        parameters_with_auxiliary: With it; none where there can be none.
        multiply_adds: Of convolutions and linear layers, for one image, without the auxiliary
            head. Papers often count more than these, so published figures are larger.
        image_size: Height and width of that image, in pixels.
    """

    parameters: int
    parameters_with_auxiliary: int | None
    multiply_adds: int
    image_size: int


def count_parameters(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def network_cost(factory: NetworkFactory, genotype: Genotype, data_spec: Mapping[str, Any]) -> Cost:
    """Cost of a genotype's network for images; nothing is allocated.

    Args:
        factory: The network's sizes.
        genotype: Its cells.
        data_spec: `in_channels`, `num_classes` and `image_size`.

    Raises:
        UsageError: Sizes do not fit.
    """

    def build(auxiliary: bool) -> RetrainNetwork:
        with torch.device("meta"):
            return factory.build(genotype, data_spec, auxiliary)

    network = build(auxiliary=False)
    try:
        whole = count_parameters(build(auxiliary=True))
    except UsageError:  # images are too small for an auxiliary head, or there is none
        whole = None
    size = data_spec["image_size"]
    image = torch.empty(1, data_spec["in_channels"], size, size, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(image)
    # the counter gives two operations for each multiply-add
    return Cost(count_parameters(network), whole, counter.get_total_flops() // 2, size)
