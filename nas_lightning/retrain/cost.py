"""What a network costs: parameters and multiply-adds."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_lightning.errors import UsageError
from nas_lightning.genotype import Genotype
from nas_lightning.retrain.network import CellNetwork
from nas_lightning.spaces.macro import StemName


@dataclass(frozen=True)
class Cost:
    """Size of a network.

    Attributes:
        parameters: Without the auxiliary head.
        parameters_with_auxiliary: With it; none where images are too small for one.
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


def network_cost(
    genotype: Genotype,
    channels: int,
    layers: int,
    num_classes: int,
    stem: StemName,
    image_size: int,
    in_channels: int = 3,
) -> Cost:
    """Cost of a genotype's network; nothing is allocated.

    Raises:
        UsageError: Sizes do not fit.
    """

    def build(auxiliary: bool) -> CellNetwork:
        with torch.device("meta"):
            return CellNetwork(
                genotype, in_channels, num_classes, image_size, channels, layers, stem, auxiliary
            )

    network = build(auxiliary=False)
    try:
        whole = count_parameters(build(auxiliary=True))
    except UsageError:  # images are too small for the auxiliary head
        whole = None
    image = torch.empty(1, in_channels, image_size, image_size, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(image)
    # the counter gives two operations for each multiply-add
    return Cost(count_parameters(network), whole, counter.get_total_flops() // 2, image_size)
