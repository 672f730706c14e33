"""Batch norm of few channels, with pixels side by side."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.narrow import narrow, normalize


@pytest.mark.parametrize("shape", [(2, 3, 2, 3), (4, 1, 4, 4), (3, 5, 1, 1), (2, 15, 8, 4)])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_a_batch_norm_of_few_channels(shape: tuple[int, ...], scaled: bool, last: bool) -> None:
    """Against PyTorch's own, and against finite differences, twice."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(shape, dtype=torch.float64, generator=generator) + 2
    x = (x.to(memory_format=torch.channels_last) if last else x).requires_grad_()
    scale = torch.randn(shape[1], dtype=torch.float64, generator=generator) if scaled else None
    leaves = [x] if scale is None else [x, scale.requires_grad_()]

    def run(x: Tensor, scale: Tensor | None = None) -> Tensor:
        return normalize(x, scale, 1e-5)

    out, own = run(*leaves), F.batch_norm(x, None, None, scale, None, True, eps=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, own, rtol=1e-12, atol=1e-12)
    found, expected = (torch.autograd.grad(y.pow(3).sum(), leaves) for y in (out, own))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


def test_channels_far_from_zero_keep_their_digits() -> None:
    """In single precision, where a mean of squares would have lost them."""
    x = torch.randn(8, 4, 64, 64, generator=torch.Generator().manual_seed(0)) + 1000
    exact = F.batch_norm(x.double(), None, None, None, None, True, eps=1e-5)
    torch.testing.assert_close(normalize(x, None, 1e-5).double(), exact, rtol=1e-3, atol=1e-3)


def test_only_of_few_channels_and_many_pixels() -> None:
    assert narrow(torch.zeros(32, 4, 32, 32))
    assert not narrow(torch.zeros(32, 5, 32, 32))
    assert not narrow(torch.zeros(16, 4, 32, 32))
    assert not narrow(torch.zeros(32, 4, 32, 32, dtype=torch.bfloat16))
