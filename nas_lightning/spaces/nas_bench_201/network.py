"""The network of a NAS-Bench-201 cell, as the benchmark trains it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from nas_lightning.architecture import CellGenotype, Genotype
from nas_lightning.architecture.network import NetworkFactory, RetrainNetwork
from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import with_drop_path
from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.own import build_primitive
from nas_lightning.layers.primitives import RETRAIN_NORM, Zero
from nas_lightning.layers.stack import CellModule
from nas_lightning.ranges import DEPTH, WIDTH, check
from nas_lightning.spaces.darts.network import node_states
from nas_lightning.spaces.nas_bench_201.skeleton import Skeleton, check_image
from nas_lightning.spaces.nas_bench_201.space import NasBench201Space


class PlainCell(CellModule):
    """A discrete cell with one input, whose output is its last node.

    Args:
        genotype: Nodes of the cell.
        channels: Channels C of every state.
    """

    def __init__(self, genotype: CellGenotype, channels: int) -> None:
        super().__init__()
        self.genotype = genotype
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                with_drop_path(
                    i.primitive, build_primitive(i.primitive, channels, 1, RETRAIN_NORM), 1
                )
                for i in node
            )
            for node in genotype.nodes
        )
        self.empty = Zero(1)  # a node without inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) for x (B, C, H, W)."""
        return node_states(self.genotype, [x], self.nodes, self.empty)[-1]


class PlainNetwork(RetrainNetwork):
    """The network of a genotype with one cell kind: a skeleton of discrete cells.

    Args:
        skeleton: Skeleton with a `PlainCell`, or a wrapped one, at each place.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        super().__init__()
        self.skeleton = skeleton

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the head's output, logits (B, num_classes), for images (B, in_channels, H, W)."""
        return self.skeleton(x), None


@final
class NasBench201Network(NetworkFactory):
    """Factory of the network of the NAS-Bench-201 space (Dong and Yang, ICLR 2020).

    Args:
        channels: Channels C of the first stage; 2C and 4C follow.
        cells: Number N of cells in each of the three stages.
    """

    channels_last = True

    def __init__(self, channels: int = 16, cells: int = 5) -> None:
        self.channels = channels
        self.cells = cells
        check(self, channels=WIDTH, cells=DEPTH)

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> PlainNetwork:
        """Build the network for images; needs `in_channels` and `num_classes`.

        Raises:
            UsageError: The genotype belongs to another space, an auxiliary head is requested, or
                images cannot be halved twice.
        """
        if not isinstance(genotype.space, NasBench201Space):
            raise UsageError(f"NasBench201Network cannot build cells of {genotype.space.name!r}")
        if auxiliary:
            raise UsageError(
                "NAS-Bench-201 networks have no auxiliary head: set auxiliary_weight to 0"
            )
        check_image(data_spec)
        (cell,) = genotype.cells.values()
        return PlainNetwork(
            Skeleton(
                data_spec["in_channels"],
                self.channels,
                self.cells,
                running_stats=True,
                make_cell=lambda channels: PlainCell(cell, channels),
                make_head=functools.partial(
                    ClassificationHead, out_features=data_spec["num_classes"]
                ),
            )
        )
