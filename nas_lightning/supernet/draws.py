"""Random draws of a search: on the CPU, so that they do not depend on the device or the process."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Dirichlet

MARGIN = torch.finfo(torch.float64).eps
"""Smallest distance of uniform draws from 0 and 1, which keeps Gumbel noise in [-3.6, 36.1]."""


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [0, 1) with the shape, dtype and device of `like`.

    Args:
        like: Any tensor.
        generator: Generator on the CPU, in the same state on every process.
    """
    draws = torch.rand(like.shape, dtype=torch.float64, generator=generator)
    return draws.to(like, non_blocking=True)


def gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise -log(-log u); arguments as in `uniform`."""
    draws = torch.rand(like.shape, dtype=torch.float64, generator=generator)
    return draws.clamp(MARGIN, 1 - MARGIN).log().neg().log().neg().to(like, non_blocking=True)


def dirichlet(concentration: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a point of the simplex for each row; differentiable in the concentration.

    The gradient is pathwise (implicit reparametrisation, Figurnov et al., 2018). PyTorch's sampler
    takes no generator, so it draws from the global one, which is seeded by `generator` for the time
    of the draw.

    Args:
        concentration: Positive concentrations (…, O).
        generator: Generator on the CPU, in the same state on every process.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draws: Tensor = Dirichlet(concentration.double().cpu()).rsample()
    return draws.to(concentration)
