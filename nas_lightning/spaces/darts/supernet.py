"""The supernet of the DARTS space: a stack of mixed cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from nas_lightning.architecture import SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.layers.heads import HeadName, make_heads
from nas_lightning.layers.primitives import NormRule
from nas_lightning.layers.stack import CellStack, Place
from nas_lightning.layers.stems import (
    STEMS,
    CifarStem,
    ImageNetStem,
    StemName,
    feature_sizes,
)
from nas_lightning.ranges import DEPTH, MIXED_WIDTH, NODES, WIDTH, check
from nas_lightning.spaces.darts.cell import SearchCell
from nas_lightning.spaces.darts.space import (
    DARTS_PRIMITIVES,
    DartsSpace,
    IndividualDartsSpace,
    cell_kinds,
    layer_kinds,
    reductions,
)
from nas_lightning.supernet.base import Supernet, SupernetFactory
from nas_lightning.supernet.execution import CellExecution
from nas_lightning.supernet.mixing import Mixing


class CellSupernet(CellStack, Supernet):
    """A stack of mixed cells.

    Args:
        space: The search space.
        stem: Stem of the stack.
        kinds: Kind of the cell at each layer.
        reductions: Indices of the layers that halve the image.
        channels: Channels C of the first cell.
        make_head: Builds the head from the channels of the last cell's output.
        make_auxiliary: Builds an auxiliary head from the channels of its input; `None` for none.
        k: K of partial channels.
        norm: Batch norm rule inside the cells.
        execution: Computation of the cells; fast by default.
    """

    def __init__(
        self,
        space: SearchSpace,
        stem: CifarStem | ImageNetStem,
        kinds: Sequence[str],
        reductions: Sequence[int],
        channels: int,
        make_head: Callable[[int], nn.Module],
        make_auxiliary: Callable[[int], nn.Module] | None,
        k: int,
        norm: NormRule,
        execution: CellExecution | None = None,
    ) -> None:
        execution = execution or CellExecution()
        execution.stem(stem)

        def make_cell(place: Place) -> SearchCell:
            return SearchCell(space.cell(place.kind), *place[1:], k, norm, execution)

        super().__init__(stem, kinds, reductions, channels, make_cell, make_head, make_auxiliary)
        self.execution = execution

    @property
    def cell_counts(self) -> Mapping[str, int]:
        """Number of cells by kind."""
        return Counter(self.kinds)

    def forward(self, x: Tensor, mixing: Mixing) -> Any:
        """Return the head's output for images (B, in_channels, H, W).

        It is logits (B, num_classes) or, of a dense head, (B, num_classes, H, W).
        """
        return self.with_auxiliary(x, mixing)[0]

    def with_auxiliary(self, x: Tensor, mixing: Mixing) -> tuple[Any, Any]:
        """Return the head's output, and in training the auxiliary head's output or `None`."""
        return self.run(self.execution.images(x), mixing)

    def outputs(self, s0: Tensor, s1: Tensor, *weights: Any) -> Iterator[Tensor]:
        """Yield the output of each cell. Cells that read the same state preprocess it together.

        Args:
            s0: First input of the first cell (B, C0, H0, W0).
            s1: Second input of the first cell (B, C1, H1, W1).
            weights: The mixing weights.
        """
        (mixing,) = weights
        cells: list[Any] = list(self.cells)
        before: Counter[str] = Counter()
        x0 = self.execution.inputs(s0, [cells[0].preprocess[0]])
        for index, (kind, cell) in enumerate(zip(self.kinds, cells, strict=True)):
            # the next cell reads this state too
            later = [following.preprocess[0] for following in cells[index + 1 : index + 2]]
            x1, *x2 = self.execution.inputs(s1, [cell.preprocess[1], *later])
            s1 = cell(*x0, x1, *mixing.of(kind, before[kind]))
            before[kind] += 1
            x0 = x2
            yield s1


class DartsSupernet(SupernetFactory):
    """Factory of the supernet of the DARTS space.

    Args:
        channels: Channels C of the first cell.
        layers: Number of cells.
        stem: `cifar` (one convolution, images keep their size) or `imagenet` (images shrink to
            an eighth before the first cell).
        stem_multiplier: Channels of the stem, in units of C.
        nodes: Intermediate nodes of a cell.
        primitives: Candidate operations on every edge.
        running_stats: Batch norm keeps running statistics, as in the released DARTS code. If
            False, every pass uses the statistics of its own batch, as in the paper.
        individual: Search every cell individually, with its own α and β. If False, all normal
            cells share α and β, and so do all reduction cells.
        head: `classification` for an output for each image, `dense` for one at each pixel, such as
            in segmentation.

    Raises:
        UsageError: A size is out of range, or an operation is unknown or repeated.
    """

    replayable = True

    def __init__(
        self,
        channels: int = 16,
        layers: int = 8,
        stem: StemName = "cifar",
        stem_multiplier: int = 3,
        nodes: int = 4,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        running_stats: bool = False,
        individual: bool = False,
        head: HeadName = "classification",
    ) -> None:
        self.channels = channels
        self.layers = layers
        self.stem: StemName = stem
        self.stem_multiplier = stem_multiplier
        self.nodes = nodes
        self.running_stats = running_stats
        self.individual = individual
        self.head: HeadName = head
        check(self, channels=MIXED_WIDTH, layers=DEPTH)
        check(self, stem_multiplier=WIDTH, nodes=NODES)
        self._space: DartsSpace | IndividualDartsSpace = (
            IndividualDartsSpace(layers, nodes, primitives)
            if individual
            else DartsSpace(nodes, primitives)
        )
        self.primitives = self._space.primitives

    @property
    def space(self) -> SearchSpace:
        """The DARTS space with these nodes and primitives."""
        return self._space

    def build(
        self,
        data_spec: Mapping[str, Any],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> CellSupernet:
        """Build the supernet for images; needs `in_channels`, `num_classes`, `image_size`.

        Raises:
            UsageError: There is no normal cell, or sizes do not fit together.
        """
        roles = cell_kinds(self.layers)
        if not self.individual and len(set(roles)) < 2:
            raise UsageError(
                f"{type(self).__name__}: a supernet of {self.layers} layers has no normal cell, so "
                f"nothing would be learned about it: set layers to 3 or more"
            )
        sizes = feature_sizes(data_spec["image_size"], self.stem, roles)
        norm = NormRule(affine=False, after_pool=True, running_stats=self.running_stats)
        stem = STEMS[self.stem](
            data_spec["in_channels"], self.channels, self.stem_multiplier, self.running_stats
        )
        heads = make_heads(
            self.head,
            data_spec["num_classes"],
            data_spec["image_size"],
            sizes,
            self.stem,
            auxiliary,
        )
        return CellSupernet(
            self.space,
            stem,
            layer_kinds(self.space.kinds, self.layers),
            reductions(roles),
            self.channels,
            *heads,
            k,
            norm,
            execution,
        )
