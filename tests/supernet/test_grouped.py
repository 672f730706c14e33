"""Pointwise convolutions in groups that are learned by products."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu import thresholds
from nas_lightning.supernet.fast.cpu.grouped import by_groups, pointwise
from tests.supernet.gradients import assert_like


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("groups", "outputs"), [(1, 3), (2, 4), (3, 9)])
def test_a_pointwise_convolution_learned_by_products(
    groups: int, outputs: int, channels_last: bool
) -> None:
    """Against finite differences, twice, and against PyTorch's own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2 * groups, 3, 4, dtype=torch.float64, generator=generator)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    weight = torch.randn(outputs, 2, 1, 1, dtype=torch.float64, generator=generator)
    x.requires_grad_()
    weight.requires_grad_()

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return pointwise(x, weight, groups)

    assert_like(run, F.conv2d(x, weight, groups=groups), x, weight)


def test_only_where_it_pays() -> None:
    x, kernel = torch.zeros(2, 64, 4, 4), torch.zeros(64, 16, 1, 1)
    assert by_groups(x, kernel)
    assert by_groups(x.double(), kernel.double())
    assert not by_groups(x, kernel[:, :8])


@pytest.mark.parametrize("fast", [True, False])
def test_in_bfloat16_only_on_a_cpu_that_computes_in_it(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "BFLOAT16", fast)
    x, kernel = torch.zeros(2, 64, 4, 4), torch.zeros(64, 16, 1, 1)
    assert by_groups(x.bfloat16(), kernel.bfloat16()) == fast
    with torch.autocast("cpu", torch.bfloat16):
        assert by_groups(x, kernel) == fast
        assert by_groups(x.double(), kernel.double())
    with torch.autocast("cpu", torch.float16):
        assert not by_groups(x, kernel)
