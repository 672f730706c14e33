"""Patches against PyTorch's circular convolutions, and their adjoint."""

import pytest
import torch
from torch.nn import functional as F

from nas_lightning.spaces.reconstruction.patches import WIDTH, patch_size, patches, spread

DIMS = pytest.mark.parametrize("dims", [1, 2])
SIZES = {1: (9,), 2: (6, 7)}


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@DIMS
def test_a_matrix_times_patches_is_a_circular_convolution(dims: int) -> None:
    u = drawn(3, 2, *SIZES[dims])
    filters = drawn(4, 2, *[WIDTH] * dims)
    wrapped = F.pad(u, [WIDTH // 2] * 2 * dims, mode="circular")
    expected = (F.conv1d, F.conv2d)[dims - 1](wrapped, filters)
    # the order within a patch: offsets, of the last dimension outermost, then channels
    order = (0, *range(dims + 1, 1, -1), 1)
    matrix = filters.permute(order).flatten(1)
    found = (matrix @ patches(u)).view(4, 3, *SIZES[dims]).transpose(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@DIMS
def test_spread_is_the_adjoint(dims: int) -> None:
    u = drawn(3, 2, *SIZES[dims])
    z = drawn(patch_size(2, dims), u[:, 0].numel())
    left = (patches(u) * z).sum()
    torch.testing.assert_close(left, (u * spread(z, u.shape)).sum(), rtol=1e-12, atol=0)
