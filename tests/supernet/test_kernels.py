"""Kernels that a pass of the published PC-DARTS search takes."""

import pytest
import torch

from nas_lightning.bench.counters import Dispatched
from nas_lightning.spaces import DartsSupernet
from nas_lightning.supernet import Mixing
from tests.supernet.fast_cases import mixing


@pytest.mark.parametrize("step", ["weight", "arch"])
def test_a_pass_of_pc_darts_takes_at_most_4000_kernels(step: str) -> None:
    """16 channels, 8 cells, K = 4, as in the published CIFAR-10 search; the batch plays no part."""
    factory = DartsSupernet()
    network = factory.build({"in_channels": 3, "num_classes": 10, "image_size": 32}, k=4)
    weights = {
        kind: [t.float().requires_grad_(step == "arch") for t in (ops, edges)]
        for (kind, ops), edges in zip(
            mixing(factory).ops.items(), mixing(factory).edges.values(), strict=True
        )
    }
    given = Mixing({k: v[0] for k, v in weights.items()}, {k: v[1] for k, v in weights.items()})
    leaves = (
        [t for pair in weights.values() for t in pair]
        if step == "arch"
        else list(network.parameters())
    )
    with Dispatched() as counted:
        torch.autograd.grad(network(torch.randn(2, 3, 32, 32), given).sum(), leaves)
    assert 2000 < counted.kernels <= 4000
