import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nas_lightning.errors import UsageError
from nas_lightning.layers.primitives import NormRule
from nas_lightning.spaces import DARTS_PRIMITIVES, DartsSpace
from nas_lightning.spaces.darts.cell import SearchCell
from nas_lightning.supernet.reference import MixedEdge, PartialChannelEdge

NORM = NormRule(affine=False, after_pool=True, running_stats=False)
POOLS = ("max_pool_3x3", "avg_pool_3x3")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def batch_norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize("stride", [1, 2])
def test_mixed_edge_is_the_weighted_sum(stride: int) -> None:
    x, weights = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.2, -1.5])
    edge = MixedEdge((*POOLS, "none"), 4, stride, NORM)
    largest = batch_norm(F.max_pool2d(x, 3, stride, 1))
    mean = batch_norm(F.avg_pool2d(x, 3, stride, 1, count_include_pad=False))
    torch.testing.assert_close(edge(x, weights), 0.3 * largest + 0.2 * mean)


def test_mixed_edge_is_linear_in_its_weights() -> None:
    x = torch.randn(2, 4, 8, 8)
    edge = MixedEdge(DARTS_PRIMITIVES, 4, 2, NORM)
    rows = torch.eye(8)
    each = torch.stack([edge(x, row) for row in rows])
    weights = torch.randn(8)
    torch.testing.assert_close(edge(x, weights), torch.einsum("m,mbchw->bchw", weights, each))
    assert all(each[m].abs().sum() > 0 for m in range(1, 8))
    assert not each[0].any()


def test_a_weight_without_an_operation_is_an_error() -> None:
    edge = MixedEdge(POOLS, 4, 1, NORM)
    with pytest.raises(ValueError, match="zip"):
        edge(torch.randn(2, 4, 8, 8), torch.ones(3))


def shuffled(x: Tensor, k: int) -> Tensor:
    """Channel shuffle as a list of channels: one of each group in turn."""
    size = x.shape[1] // k
    order = [group * size + member for member in range(size) for group in range(k)]
    return torch.stack([x[:, channel] for channel in order], dim=1)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_partial_channels_mix_a_share_and_shuffle(k: int, stride: int) -> None:
    channels = 8
    x, weights = torch.randn(3, channels, 8, 8), torch.tensor([0.7, 0.4])
    edge = PartialChannelEdge(POOLS, channels, stride, NORM, k)
    share, rest = x[:, : channels // k], x[:, channels // k :]
    mixed = 0.7 * batch_norm(F.max_pool2d(share, 3, stride, 1)) + 0.4 * batch_norm(
        F.avg_pool2d(share, 3, stride, 1, count_include_pad=False)
    )
    bypass = rest if stride == 1 else F.max_pool2d(rest, 2)
    expected = shuffled(torch.cat((mixed, bypass), 1), k)
    torch.testing.assert_close(edge(x, weights), expected)


def test_partial_channels_of_an_identity_only_permute() -> None:
    x = torch.randn(2, 8, 4, 4)
    edge = PartialChannelEdge(("none", "skip_connect"), 8, 1, NORM, 4)
    out = edge(x, torch.tensor([0.0, 1.0]))
    assert torch.equal(out, shuffled(x, 4))
    # written out: channels (0, 1 | 2, 3 | 4, 5 | 6, 7)
    assert torch.equal(out, x[:, [0, 2, 4, 6, 1, 3, 5, 7]])


def test_partial_channels_weigh_only_their_share() -> None:
    x = torch.randn(2, 8, 4, 4)
    edge = PartialChannelEdge(("none", "skip_connect"), 8, 1, NORM, 4)
    change = edge(x, torch.tensor([0.0, 3.0])) - edge(x, torch.tensor([0.0, 1.0]))
    assert change.abs().sum((0, 2, 3)).nonzero().flatten().tolist() == [0, 4]


def search_cell(channels: int = 8, k: int = 1, reduction: bool = False) -> SearchCell:
    space = DartsSpace(2, ("none", "skip_connect"))
    return SearchCell(space.cell("normal"), (6, 6), channels, reduction, False, k, NORM)


def test_a_node_is_the_weighted_sum_of_its_edges() -> None:
    cell = search_cell()
    s0, s1 = torch.randn(2, 6, 4, 4), torch.randn(2, 6, 4, 4)
    ops = torch.stack([torch.zeros(5), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])], dim=1)
    edges = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    first, second = (
        batch_norm(F.conv2d(s.relu(), next(pre.parameters())))
        for s, pre in zip((s0, s1), cell.preprocess, strict=True)
    )
    node0 = 0.1 * 1 * first + 0.2 * 2 * second
    node1 = 0.3 * 3 * first + 0.4 * 4 * second + 0.5 * 5 * node0
    torch.testing.assert_close(cell(first, second, ops, edges), torch.cat((node0, node1), 1))


def test_only_edges_from_the_inputs_of_a_reduction_halve_the_image() -> None:
    space = DartsSpace(2)
    cell = SearchCell(space.cell("reduce"), (6, 6), 8, True, False, 1, NORM)
    x = torch.randn(2, 8, 8, 8)
    weights = torch.ones(8) / 8
    sizes = [edge(x, weights).shape[-1] for edge in cell.edges]
    assert sizes == [4, 4, 4, 4, 8]  # edges 0-2, 1-2, 0-3, 1-3 and 2-3


@pytest.mark.parametrize("k", [3, 5, 8, 16])
def test_k_must_divide_the_channels_and_leave_two(k: int) -> None:
    with pytest.raises(UsageError, match=f"K = {k} must divide the 8 channels"):
        search_cell(k=k)


def test_the_largest_k_leaves_two_channels() -> None:
    assert search_cell(k=4)(
        torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4), torch.ones(5, 2), torch.ones(5)
    ).shape == (2, 16, 4, 4)
