"""Drop path: switch off the edges of a cell at random, for each sample anew."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero a sample with probability `p`, scale the others by 1/(1 - p) (Larsson et al., 2017).

    Out of place: the input may be another edge's too.

    Attributes:
        p: Probability of a zero; `set_drop_path` sets it as the training goes on.
        dropping: Whether it is above 0.
        keep: 1 - p () on the device. A compiled cell reads it: a number would be a constant
            there, and every new one another cell to compile.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0
        self.dropping = False
        self.keep = torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) like x; x itself in evaluation."""
        if not (self.training and self.dropping):
            return x
        kept = torch.bernoulli(self.keep.expand(x.shape[0], 1, 1, 1))
        return x * kept.to(x.dtype) / self.keep


def with_drop_path(primitive: str, op: nn.Module, stride: int) -> nn.Module:
    """The operation of an edge with drop path behind it.

    An identity is never dropped, so that a sample always has a way through, and `none` has
    nothing to drop.
    """
    if primitive == "none" or (primitive == "skip_connect" and stride == 1):
        return op
    return nn.Sequential(op, DropPath())


def set_drop_path(network: nn.Module, p: float) -> None:
    """Set the probability with which the paths of a network are dropped, where it is now."""
    like = next(network.parameters(), torch.ones(()))
    keep = torch.full((), 1 - p, dtype=like.dtype, device=like.device)
    for module in network.modules():
        if isinstance(module, DropPath):
            module.p, module.dropping, module.keep = p, p > 0, keep
