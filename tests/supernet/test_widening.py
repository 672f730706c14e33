"""Wider operations compute the same function on copied channels, and copies of momentum."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.primitives import PRIMITIVES, FactorizedReduce, NormRule
from nas_lightning.supernet.reference import PartialChannelEdge
from nas_lightning.supernet.widening import WideningEdges, copied, shares, widen_, widened

NAMES = tuple(name for name in PRIMITIVES if name != "noise")  # which has no function to keep
FEW, MANY = 3, 5
NORM = NormRule(affine=True, after_pool=True, running_stats=True)


def edge(stride: int = 1, channels: int = 12, k: int = 4) -> PartialChannelEdge:
    """An edge of all operations with random weights and moved statistics."""
    torch.manual_seed(0)
    found = PartialChannelEdge(NAMES, channels, stride, NORM, k).double()
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    for _ in range(2):
        found(images(channels), torch.ones(len(NAMES)).double())
    return found


def images(channels: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, channels, 6, 6, dtype=torch.float64, generator=generator)


def test_channels_are_copied_in_turn() -> None:
    assert copied(3, 5).tolist() == [0, 1, 2, 0, 1]
    assert copied(2, 6).tolist() == [0, 1, 0, 1, 0, 1]


def test_copies_share_what_they_pass_on_and_not_alike() -> None:
    found = shares(torch.tensor([0, 1, 2, 0, 1, 0]))
    expected = torch.tensor([1 / 6, 1 / 3, 1, 1 / 3, 2 / 3, 1 / 2], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_keeps_its_function(name: str, training: bool, stride: int) -> None:
    op = edge(stride).mixed.ops[NAMES.index(name)].train(training)
    wide = copy.deepcopy(op)
    widen_(wide, FEW, MANY)
    x = images(FEW)
    outputs = copied(FEW, MANY)
    if any(isinstance(module, FactorizedReduce) for module in op.modules()):
        # one of three channels reads even pixels, and two of five are its copies
        outputs = torch.tensor([0, 0, 1, 2, 1])
    torch.testing.assert_close(wide(x[:, copied(FEW, MANY)]), op(x)[:, outputs])
    buffers = zip(op.named_buffers(), wide.named_buffers(), strict=True)
    for (where, before), (_, after) in buffers:
        expected = before if before.dim() == 0 else before[outputs]
        torch.testing.assert_close(after, expected, msg=where)


def test_an_edge_keeps_its_function_and_mixes_more_channels() -> None:
    narrow = edge()
    wide = widened(narrow, 2)
    assert isinstance(wide, PartialChannelEdge)
    assert (wide.k, wide.mixed.channels) == (2, 6)
    weights = torch.rand(len(NAMES), dtype=torch.float64)
    x = images(12)
    doubled = torch.cat((x[:, :3], x[:, :3], x[:, 6:]), dim=1)
    mixed = narrow.mixed(x[:, :3], weights)
    expected = torch.cat((mixed, mixed), dim=1)
    torch.testing.assert_close(wide.mixed(doubled[:, :6], weights), expected)
    # members of the two groups, side by side
    found = wide(doubled, weights)
    torch.testing.assert_close(found[:, ::2], expected)
    torch.testing.assert_close(found[:, 1::2], x[:, 6:])


def test_all_channels_may_be_mixed_at_the_end() -> None:
    narrow = edge(channels=6, k=2)
    weights, x = torch.rand(len(NAMES), dtype=torch.float64), images(3)
    found = widened(narrow, 1)(torch.cat((x, x), dim=1), weights)
    torch.testing.assert_close(found, narrow.mixed(x, weights).repeat(1, 2, 1, 1))


def test_the_narrow_edge_is_left_alone() -> None:
    narrow = edge()
    before = copy.deepcopy(narrow.state_dict())
    wide = widened(narrow, 2)
    with torch.no_grad():
        for value in (*wide.parameters(), *wide.buffers()):
            value.zero_()
    for name, value in narrow.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_momentum_is_widened_as_the_weights_are() -> None:
    """A step of SGD before widening and one after it: the wide edge moves like the narrow one."""
    edges = WideningEdges(nn.ModuleList([edge(), edge()]), 2)
    optimizer = torch.optim.SGD(edges.parameters(), lr=0.1, momentum=0.9)
    for value in edges.narrow[0].parameters():
        value.grad = torch.randn_like(value)
    optimizer.step()
    assert edges.now is edges.narrow
    edges.widen(optimizer.state)
    assert edges.now is edges.wide
    for optimized in edges.parameters():
        optimized.grad = None if optimized not in optimizer.state else torch.zeros_like(optimized)
    optimizer.step()
    again = widened(edges.narrow[0], 2)  # type: ignore[arg-type] # of a list of modules
    for found, expected in zip(edges.wide[0].parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert all(value not in optimizer.state for value in edges.wide[1].parameters())


def test_what_cannot_be_widened_is_named() -> None:
    for layer in (nn.Linear(3, 3), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 8, 1)):
        with pytest.raises(UsageError, match="cannot be widened: search with k equal to wide_k"):
            widen_(nn.Sequential(nn.ReLU(), layer), 4, 8)
