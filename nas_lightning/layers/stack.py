"""The network around cells, in search and in retraining: a stem, a stack of cells and a head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from nas_lightning.layers.stems import CifarStem, ImageNetStem, auxiliary_cell


class CellModule(nn.Module):
    """Base class of the cells of a network; `Speed` compiles each cell."""


class Place(NamedTuple):
    """The place of a cell in the stack.

    Attributes:
        kind: Kind of the cell.
        channels_before: Channels of the outputs of the two previous cells.
        channels: Channels C of every state inside.
        reduction: True if the cell halves the image.
        reduction_before: True if the previous cell halves the image, so that the first input must
            be halved too.
    """

    kind: str
    channels_before: tuple[int, int]
    channels: int
    reduction: bool
    reduction_before: bool


class CellStack(nn.Module):
    """A stem, cells that each read the two outputs before them, and a head.

    Args:
        stem: Computes the two inputs of the first cell from images.
        kinds: Kind of the cell at each layer.
        reductions: Indices of the layers that halve the image and double the channels.
        channels: Channels C of the first cell.
        make_cell: Builds the cell of a place. Its attribute `out_channels` is the number of
            channels of its output.
        make_head: Builds the head from the channels of the last output.
        make_auxiliary: Builds an auxiliary head from the channels of its input, the output of the
            second reduction cell; `None` for no auxiliary head.
    """

    def __init__(
        self,
        stem: CifarStem | ImageNetStem,
        kinds: Sequence[str],
        reductions: Sequence[int],
        channels: int,
        make_cell: Callable[[Place], nn.Module],
        make_head: Callable[[int], nn.Module],
        make_auxiliary: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.auxiliary_at = auxiliary_cell(len(kinds))
        self.auxiliary: nn.Module | None = None
        self.stem = stem
        self.cells = nn.ModuleList()
        before, shrunk = stem.channels, stem.shrinks
        for index, kind in enumerate(kinds):
            reduction = index in reductions
            channels *= 2 if reduction else 1
            cell: Any = make_cell(Place(kind, before, channels, reduction, shrunk))
            self.cells.append(cell)
            before, shrunk = (before[1], cell.out_channels), reduction
            if make_auxiliary is not None and index == self.auxiliary_at:
                self.auxiliary = make_auxiliary(before[1])
        self.head = make_head(before[1])

    def outputs(self, s0: Tensor, s1: Tensor, *weights: Any) -> Iterator[Tensor]:
        """Yield the output of each cell in turn.

        Args:
            s0: First input of the first cell (B, C0, H0, W0).
            s1: Second input of the first cell (B, C1, H1, W1).
            weights: Further arguments of each cell.
        """
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1, *weights)
            yield s1

    def run(self, x: Tensor, *weights: Any) -> tuple[Any, Any]:
        """Return the head's output, and in training the auxiliary head's output or `None`.

        Args:
            x: Images (B, in_channels, H, W).
            weights: Further arguments of `outputs`.
        """
        auxiliary, state = None, x
        for index, state in enumerate(self.outputs(*self.stem(x), *weights)):
            if self.training and self.auxiliary is not None and index == self.auxiliary_at:
                auxiliary = self.auxiliary(state)
        return self.head(state), auxiliary
