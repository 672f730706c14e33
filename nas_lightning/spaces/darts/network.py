"""The network of a genotype of the DARTS space, for training from scratch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from nas_lightning.architecture import (
    CellGenotype,
    Genotype,
    NetworkFactory,
    NodeInput,
    RetrainNetwork,
)
from nas_lightning.errors import UsageError
from nas_lightning.layers.drop_path import with_drop_path
from nas_lightning.layers.heads import HeadName, make_heads
from nas_lightning.layers.own import build_primitive
from nas_lightning.layers.primitives import (
    RETRAIN_NORM,
    FactorizedReduce,
    Zero,
    relu_conv_norm,
)
from nas_lightning.layers.stack import CellModule, CellStack, Place
from nas_lightning.layers.stems import STEMS, StemName, feature_sizes
from nas_lightning.ranges import DEPTH, WIDTH, check
from nas_lightning.spaces.darts.space import cell_kinds, layer_kinds, reductions


class DiscreteCell(CellModule):
    """A cell of a genotype.

    Args:
        genotype: Nodes of the cell.
        channels_before: Channels of the outputs of the two previous cells.
        channels: Channels C of every state inside.
        reduction: Halve the image: edges from the cell's inputs have stride 2.
        reduction_before: The previous cell halves the image, so the first input is halved too.
    """

    def __init__(
        self,
        genotype: CellGenotype,
        channels_before: tuple[int, int],
        channels: int,
        reduction: bool,
        reduction_before: bool,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        self.out_channels = len(genotype.concat) * channels
        first = FactorizedReduce if reduction_before else relu_conv_norm
        self.preprocess = nn.ModuleList(
            (
                first(channels_before[0], channels, RETRAIN_NORM),
                relu_conv_norm(channels_before[1], channels, RETRAIN_NORM),
            )
        )
        self.nodes = nn.ModuleList(
            nn.ModuleList(_path(kept, channels, reduction) for kept in node)
            for node in genotype.nodes
        )
        self.empty = Zero(2 if reduction else 1)  # a node without inputs

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Return the output (B, len(concat)·C, H, W), with half of H and W in a reduction cell.

        Args:
            s0: Output of the cell before the last (B, C0, H0, W0).
            s1: Output of the last cell (B, C1, H, W).
        """
        states = [pre(s) for pre, s in zip(self.preprocess, (s0, s1), strict=True)]
        states = node_states(self.genotype, states, self.nodes, self.empty)
        return torch.cat([states[i] for i in self.genotype.concat], dim=1)


def node_states(
    genotype: CellGenotype, inputs: Sequence[Tensor], nodes: nn.ModuleList, empty: nn.Module
) -> list[Tensor]:
    """Return the states of a cell: its inputs, and its nodes, each the sum of its paths.

    Args:
        genotype: The cell.
        inputs: Input states, all of one size.
        nodes: The paths of each node.
        empty: Computes the state of a node without paths from the first input.
    """
    states = list(inputs)
    for node, paths in zip(genotype.nodes, nodes, strict=True):
        pairs = zip(node, cast("nn.ModuleList", paths), strict=True)
        terms = [path(states[kept.source]) for kept, path in pairs]
        states.append(functools.reduce(operator.add, terms or [empty(inputs[0])]))
    return states


def _path(kept: NodeInput, channels: int, reduction: bool) -> nn.Module:
    """Return the operation of an edge, followed by drop path."""
    stride = 2 if reduction and kept.source < 2 else 1
    op = build_primitive(kept.primitive, channels, stride, RETRAIN_NORM)
    return with_drop_path(kept.primitive, op, stride)


class CellNetwork(CellStack, RetrainNetwork):
    """A stack of a genotype's cells, with a head.

    Args:
        genotype: Genotype with the cells.
        in_channels: Channels of the image.
        num_classes: Outputs of the head.
        image_size: Height and width of the image, in pixels.
        channels: Channels C of the first cell; doubled by every reduction cell.
        layers: Number of cells.
        stem: Name of the stem.
        auxiliary: Add the auxiliary head after the second reduction cell.
        head: `classification` for an output for each image, `dense` for one at each pixel.

    Raises:
        UsageError: The sizes do not fit together, or a cell has no edges.
    """

    def __init__(
        self,
        genotype: Genotype,
        in_channels: int,
        num_classes: int,
        image_size: int,
        channels: int = 36,
        layers: int = 20,
        stem: StemName = "cifar",
        auxiliary: bool = False,
        head: HeadName = "classification",
    ) -> None:
        kinds = layer_kinds(tuple(genotype.cells), layers)
        roles = cell_kinds(layers)
        sizes = feature_sizes(image_size, stem, roles)
        for kind in dict.fromkeys(kinds):
            if not any(genotype.cells[kind].nodes):
                raise UsageError(
                    f"the {kind} cell has no edges, so its output would not depend on the image"
                )

        def make_cell(place: Place) -> DiscreteCell:
            return DiscreteCell(genotype.cells[place.kind], *place[1:])

        multiplier = 3 if stem == "cifar" else 1
        heads = make_heads(head, num_classes, image_size, sizes, stem, auxiliary)
        super().__init__(
            STEMS[stem](in_channels, channels, multiplier),
            kinds,
            reductions(roles),
            channels,
            make_cell,
            *heads,
        )

    def drop_auxiliary(self) -> None:
        """Remove the auxiliary head, if there is one."""
        self.auxiliary = None

    def forward(self, x: Tensor) -> tuple[Any, Any]:
        """Return the head's output and, in training, the auxiliary head's output or `None`.

        They are logits (B, num_classes) or, of a dense head, (B, num_classes, H, W).
        """
        return self.run(x)


@final
class DartsNetwork(NetworkFactory):
    """Factory of the network of the DARTS space.

    Args:
        channels: Channels C of the first cell.
        layers: Number of cells. Individually searched cells need exactly their number.
        stem: `cifar` or `imagenet`.
        head: `classification` for an output for each image, `dense` for one at each pixel, such as
            in segmentation.

    Raises:
        UsageError: A size is out of range.
    """

    channels_last = True

    def __init__(
        self,
        channels: int = 36,
        layers: int = 20,
        stem: StemName = "cifar",
        head: HeadName = "classification",
    ) -> None:
        self.channels = channels
        self.layers = layers
        self.stem: StemName = stem
        self.head: HeadName = head
        check(self, channels=WIDTH, layers=DEPTH)

    def build(
        self, genotype: Genotype, data_spec: Mapping[str, Any], auxiliary: bool = False
    ) -> CellNetwork:
        """Build the network for images; needs `in_channels`, `num_classes`, `image_size`."""
        return CellNetwork(
            genotype,
            data_spec["in_channels"],
            data_spec["num_classes"],
            data_spec["image_size"],
            self.channels,
            self.layers,
            self.stem,
            auxiliary,
            self.head,
        )
