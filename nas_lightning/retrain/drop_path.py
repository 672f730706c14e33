"""Drop path: switch off the edges of a cell at random, for each sample anew."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero a sample with probability `p`, scale the others by 1/(1 - p) (Larsson et al., 2017).

    Out of place: the input may be another edge's too.

    Attributes:
        p: Probability of a zero; set from outside as the training goes on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) like x; x itself in evaluation."""
        if not self.training or self.p == 0.0:
            return x
        keep = torch.full((x.shape[0], 1, 1, 1), 1 - self.p, dtype=x.dtype, device=x.device)
        return x * torch.bernoulli(keep) / (1 - self.p)
