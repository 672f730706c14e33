"""Drop path: drop edges of a cell at random, independently for each sample."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero a sample with probability `p` and scale the others by 1/(1 - p) (Larsson et al., 2017).

    The input is not modified, since other edges may read it too.

    Attributes:
        p: Probability of dropping a sample; `set_drop_path` sets it during training.
        dropping: True if `p` is above 0.
        keep: 1 - p () as a tensor on the device. A number would be a constant in a compiled
            cell, so each new value would compile the cell again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0
        self.dropping = False
        self.keep = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, C, H, W), in training with some samples dropped."""
        if not (self.training and self.dropping):
            return x
        kept = torch.bernoulli(self.keep.expand(x.shape[0], 1, 1, 1))
        return x * kept.to(x.dtype) / self.keep


def with_drop_path(primitive: str, op: nn.Module, stride: int) -> nn.Module:
    """Return the operation of an edge, followed by drop path.

    An identity is never dropped, so that every sample keeps a path. `none` has nothing to drop.
    """
    if primitive == "none" or (primitive == "skip_connect" and stride == 1):
        return op
    return nn.Sequential(op, DropPath())


def set_drop_path(network: nn.Module, p: float) -> None:
    """Set the drop probability of all paths of a network, on its current device."""
    like = next(network.parameters(), torch.ones(()))
    keep = torch.full((), 1 - p, dtype=like.dtype, device=like.device)
    for module in network.modules():
        if isinstance(module, DropPath):
            module.p, module.dropping, module.keep = p, p > 0, keep
