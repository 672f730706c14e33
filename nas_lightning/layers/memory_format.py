"""The channels-last format, which keeps the channels of a pixel side by side in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def store(network: nn.Module, channels_last: bool) -> None:
    """Store the kernels of a network's convolutions in this format, or in PyTorch's own.

    It has to happen before an optimizer makes states of the same layout. Parameters of other than
    four dimensions stay as they are.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def images_last(x: Any) -> Any:
    """Return images (B, C, H, W) in this format, and anything else as it is."""
    if isinstance(x, Tensor) and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    return x
