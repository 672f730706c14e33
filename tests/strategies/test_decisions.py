"""Mixing weights without an operation or an edge, and the agreement of two rankings."""

import math
from dataclasses import replace

import pytest
import torch

from nas_lightning.search import one_hot
from nas_lightning.strategies.decisions import agreement, without_edge, without_operations
from tests.conftest import SearchFactory

CPU = torch.device("cpu")


def test_a_mask_multiplies_the_row_and_leaves_the_others(make_search: SearchFactory) -> None:
    module = make_search()
    cell, mixing = module.space.cells[0], module.arch().detach()
    masked = without_operations(mixing, cell, 1, [2])
    expected = mixing.ops["normal"].clone()
    expected[1, 2] = 0
    assert torch.equal(masked.ops["normal"], expected)
    assert masked.active["normal"][1] == (0, 1, 3)
    assert masked.active["normal"][0] == (0, 1, 2, 3)
    assert masked.ops["reduce"] is mixing.ops["reduce"]


def test_what_is_masked_counts_as_weight_zero(make_search: SearchFactory) -> None:
    module = make_search().double()
    module.supernet.eval()
    cell, mixing = module.space.cells[0], module.arch().detach()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    for masked in (without_operations(mixing, cell, 3, [3]), without_edge(mixing, cell, 3)):
        with torch.no_grad():
            found = module.supernet(x, masked)
            computed = module.supernet(x, replace(masked, active={}))
        torch.testing.assert_close(found, computed, rtol=1e-12, atol=1e-12)
        assert not torch.equal(found, module.supernet(x, mixing))


def test_masking_all_but_one_operation_gives_the_discrete_network(
    make_search: SearchFactory,
) -> None:
    """In float64, up to the scale of each row, which is then set to one."""
    module = make_search().double()
    module.supernet.eval()
    genotype = module.genotype()
    mixing, discrete = module.arch().detach(), one_hot(module.space, genotype, CPU)
    for cell in module.space.cells:
        for edge in range(len(cell.edges)):
            gone = [m for m in range(4) if not discrete.ops[cell.kind][edge, m]]
            mixing = without_operations(mixing, cell, edge, gone)
    ones = {kind: (weights > 0).double() for kind, weights in mixing.ops.items()}
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        found = module.supernet(x, replace(mixing, ops=ones))
        torch.testing.assert_close(found, module.supernet(x, discrete), rtol=1e-12, atol=1e-12)


def test_rank_agreement() -> None:
    assert agreement([1, 2, 3], [10, 20, 30]) == 1
    assert agreement([1, 2, 3], [3, 2, 1]) == -1
    assert agreement([1, 1, 1], [3, 2, 1]) is None
    assert agreement([1], [3]) is None  # without a warning of SciPy, which would fail the test
    # τ_b by hand: 2 concordant, 0 discordant, one tie in the first
    assert agreement([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(2 * 3))
