"""Products of the channels of many pixels as convolutions."""

import pytest
import torch
from torch import Tensor

from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.products import by_convolution, mix
from tests.supernet.gradients import assert_like


@pytest.mark.parametrize("more", [False, True])
def test_a_product_by_a_convolution(monkeypatch: pytest.MonkeyPatch, more: bool) -> None:
    """Against finite differences, twice, and against a product."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(3, 8, dtype=torch.float64, generator=generator).requires_grad_()
    add = torch.randn(2, 8, 4, 5, dtype=torch.float64, generator=generator) if more else None

    monkeypatch.setattr(thresholds, "CONVOLUTION_PIXELS", 0)
    assert by_convolution(x, 8)

    def run(x: Tensor, weights: Tensor) -> Tensor:
        return mix(x, weights, add)

    own = torch.einsum("bchw,cd->bdhw", x, weights)
    own = own if add is None else own + add
    assert_like(run, own, x, weights, exact=False)


def test_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "CONVOLUTION_PIXELS", 2**15)
    x = torch.zeros(32, 12, 32, 32).to(memory_format=torch.channels_last)
    assert by_convolution(x, 16)
    assert by_convolution(x, 4)
    assert not by_convolution(x, 12)
    assert not by_convolution(x[:31], 16)
    assert not by_convolution(x[:, :8], 16)
