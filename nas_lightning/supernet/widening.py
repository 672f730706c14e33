"""Wider operations from trained ones: Net2WiderNet (Chen, Goodfellow, Shlens; ICLR 2016)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas_lightning.errors import UsageError
from nas_lightning.layers.primitives import FactorizedReduce
from nas_lightning.supernet.reference import PartialChannelEdge, check_partial_channels

MOMENTUM = "momentum_buffer"
"""Name of SGD's momentum in its state."""


def copied(few: int, many: int) -> Tensor:
    """Return for each of many channels the one that it copies (many,): 0, …, few - 1, 0, 1, …."""
    return torch.arange(many, device="cpu") % few  # also where networks are only counted


def shares(copies: Tensor) -> Tensor:
    """Return the share of each channel in what all copies of one channel pass on (many,).

    The shares of n copies are as 1 to 2 to … to n, and sum to one. With equal shares, copies inside
    of an operation would have equal gradients and stay equal for ever.

    Args:
        copies: For each channel, the one that it copies.
    """
    same = copies[:, None] == copies
    rank = same.tril().sum(dim=1)  # 1 for the first copy of a channel
    number = same.sum(dim=1)
    return 2 * rank.double() / (number * (number + 1))


def _replace_(module: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> None:
    """Replace a parameter or buffer, if there is one, by a changed copy."""
    before = getattr(module, name)
    if before is None:
        return
    after = change(before.detach()).clone()
    setattr(module, name, nn.Parameter(after) if isinstance(before, nn.Parameter) else after)


def _widen_norm_(norm: nn.BatchNorm2d, outputs: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        _replace_(norm, name, lambda value: value[outputs.to(value.device)])
    norm.num_features = len(outputs)


def _widen_conv_(conv: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> None:
    """Widen a convolution that is depthwise or has one group.

    Copies of an input share the kernel that reads it, so that copied inputs give copied outputs.
    """

    def widened(weight: Tensor) -> Tensor:
        places = outputs.to(weight.device)
        if conv.groups > 1:
            return weight[places]
        share = shares(inputs).to(weight)[None, :, None, None]
        return weight[places][:, inputs.to(weight.device)] * share

    _replace_(conv, "weight", widened)
    _replace_(conv, "bias", lambda bias: bias[outputs.to(bias.device)])
    conv.groups = len(inputs) if conv.groups > 1 else 1
    conv.in_channels, conv.out_channels = len(inputs), len(outputs)


def widen_(module: nn.Module, few: int, many: int) -> None:
    """Widen the layers of an operation from few to many channels, in place.

    Raises:
        UsageError: A layer is none of those that the shipped operations consist of.
    """
    every = copied(few, many)
    if isinstance(module, FactorizedReduce):
        # the halves of the outputs read other pixels, so each is copied from itself
        sizes = [(few // 2, many // 2), (few - few // 2, many - many // 2)]
        halves = [copied(*size) for size in sizes]
        for conv, half in zip((module.conv0, module.conv1), halves, strict=True):
            _widen_conv_(conv, every, half)
        _widen_norm_(module.norm, torch.cat((halves[0], few // 2 + halves[1])))
    elif isinstance(module, nn.BatchNorm2d):
        _widen_norm_(module, every)
    elif isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels == few:
        if module.groups not in (1, few):
            raise _cannot(module)
        _widen_conv_(module, every, every)
    elif next(module.parameters(recurse=False), next(module.buffers(recurse=False), None)) is None:
        for child in module.children():
            widen_(child, few, many)
    else:
        raise _cannot(module)


def _cannot(module: nn.Module) -> UsageError:
    return UsageError(
        f"the layer {module} cannot be widened: search with k equal to wide_k, or leave its "
        f"operation out"
    )


def widened(edge: PartialChannelEdge, k: int) -> nn.Module:
    """Return a copy of an edge that mixes 1/k of the channels.

    For inputs whose new channels are copies, each operation has copies of its outputs.

    Args:
        edge: An edge that mixes fewer channels.
        k: K of the wide edge.
    """
    few = edge.mixed.channels
    check_partial_channels(few * edge.k, k)
    wide = copy.deepcopy(edge)
    wide.k, wide.mixed.channels = k, few * edge.k // k
    for op in wide.mixed.ops:
        widen_(op, few, wide.mixed.channels)
    return wide.mixed if k == 1 else wide


class WideningEdges(nn.Module):
    """The mixed edges of a cell, first narrow and later wide.

    Both have their weights from the start, so that the structure of a search never changes. The
    wide ones are copied from the narrow ones when they take over.

    Args:
        narrow: Edges of partial channels.
        k: K of the wide edges.

    Attributes:
        wide_now: True if the wide edges run.
    """

    def __init__(self, narrow: nn.ModuleList, k: int) -> None:
        super().__init__()
        self.k = k
        self.narrow = narrow
        self.wide = self._widened(narrow)
        self.wide_now = False

    def _widened(self, narrow: nn.ModuleList) -> nn.ModuleList:
        return nn.ModuleList(widened(cast("PartialChannelEdge", edge), self.k) for edge in narrow)

    @property
    def now(self) -> nn.ModuleList:
        """The edges that run."""
        return self.wide if self.wide_now else self.narrow

    def __iter__(self) -> Iterator[nn.Module]:
        """Yield the edges that run."""
        return iter(self.now)

    @torch.no_grad()
    def widen(self, state: dict[Any, Any]) -> None:
        """Let the wide edges take over from the narrow ones.

        Args:
            state: State of the optimizer of the weights by parameter. The momentum of SGD is
                widened as the weights are; other state of the wide edges starts anew.
        """
        self.wide.load_state_dict(self._widened(self.narrow).state_dict())
        before = [state.get(value, {}).get(MOMENTUM) for value in self.narrow.parameters()]
        moving = copy.deepcopy(self.narrow)
        for value, momentum in zip(moving.parameters(), before, strict=True):
            value.copy_(torch.zeros_like(value) if momentum is None else momentum)
        wide = zip(self.wide.parameters(), self._widened(moving).parameters(), before, strict=True)
        for value, momentum, known in wide:
            if known is not None:
                state[value][MOMENTUM] = momentum.detach().clone()
        self.wide_now = True
