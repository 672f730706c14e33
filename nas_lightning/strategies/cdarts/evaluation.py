"""The evaluation network of CDARTS, with the weights of all operations and its present cells."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas_lightning.architecture import Genotype, SearchSpace, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.layers.heads import ClassificationHead
from nas_lightning.layers.primitives import NormRule
from nas_lightning.layers.stems import feature_sizes, global_average
from nas_lightning.search import one_hot
from nas_lightning.spaces.darts.space import cell_kinds, reductions
from nas_lightning.spaces.darts.supernet import CellSupernet
from nas_lightning.supernet import Mixing, Supernet, Survivors

NAME = "cdarts"
"""Name of the evaluation network in `SearchModule.networks`."""
NORM = NormRule(affine=False, after_pool=False, running_stats=False)
"""Batch norm of the evaluation network, which is only ever trained: no scale and shift, none after
pooling, and no running statistics, which nothing would read."""
WINDOW, STRIDE = 6, 2
"""Side and stride of a head's pooling, in pixels."""
SHARE = 0.333
"""Largest initial value of the numbers whose softmax weighs the heads, or the only one."""


class DistillationHead(nn.Module):
    """A classifier of features inside a network: pooling, 1x1 convolution to 128, 2x2 to 768.

    Each convolution is followed by batch norm without scale and shift, and a ReLU. Then come
    global pooling and a linear layer. The pooling window has 6 pixels (5 for features of 7), as in
    the released code, and is smaller for features of fewer than 8 pixels (ours).

    Args:
        channels: Channels of the features.
        num_classes: Outputs.
        size: Height and width of the features, in pixels.

    Raises:
        UsageError: The features have a single pixel.
    """

    def __init__(self, channels: int, num_classes: int, size: int) -> None:
        super().__init__()
        if size < STRIDE:
            raise UsageError(
                f"the heads of CDARTS need features of at least 2x2 pixels, found {size}x{size}: "
                f"use larger images"
            )
        window = min(WINDOW, size - STRIDE)
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(window, STRIDE) if window else nn.Identity(),
            nn.Conv2d(channels, 128, 1, bias=False),
            NORM(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            NORM(768),
            nn.ReLU(),
        )
        self.head = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, num_classes) for features x (B, C, H, W)."""
        logits: Tensor = self.head(global_average(self.features(x)))
        return logits


class EvaluationNetwork(nn.Module):
    """The evaluation network and the heads of both networks.

    Its stack of cells has full depth and holds all candidate operations. A genotype decides which
    of them run, by one-hot mixing weights, and only these get gradients. So the weights of an
    operation wait while it is not chosen, and continue when it is chosen again: copying weights
    out of a pool before a cycle, and back after it, would give the same network.

    The stem is that of the supernet, the same object.

    Args:
        supernet: The supernet.
        space: Its search space.
        image_size: Height and width of the images, in pixels.
        layers: Number of cells.
        learn_heads: False keeps the heads at their initial weights.
        learn_shares: False weighs heads and classifier equally.

    Attributes:
        cycle: Number of the cycle, () int64; -1 before the first one.
        shares: Numbers (3,) whose softmax weighs heads and classifier.

    Raises:
        UsageError: The supernet is not one of normal and reduction cells with a classifier.
    """

    cycle: Tensor

    def __init__(
        self,
        supernet: Supernet,
        space: SearchSpace,
        image_size: int,
        layers: int,
        learn_heads: bool,
        learn_shares: bool,
    ) -> None:
        super().__init__()
        if not _has_normal_and_reduction_cells(supernet, space):
            raise UsageError(
                "CDARTS needs normal and reduction cells and one output for each image: set "
                "model.supernet to DartsSupernet with individual: false and head: classification"
            )
        search = cast("CellSupernet", supernet)
        kinds, first = cell_kinds(layers), cast("Any", search.cells[0])
        classes = cast("ClassificationHead", search.head).out_features
        self.stack = CellSupernet(
            space,
            search.stem,
            kinds,
            reductions(kinds),
            first.out_channels // len(first.cell.concat),
            functools.partial(ClassificationHead, out_features=classes),
            None,
            1,
            NORM,
            search.execution,
        )
        sizes = feature_sizes(image_size, "imagenet" if search.stem.shrinks else "cifar", kinds)
        cells: list[Any] = list(self.stack.cells)
        self.heads = nn.ModuleList(
            DistillationHead(cells[i].out_channels, classes, sizes[i]) for i in reductions(kinds)
        ).requires_grad_(learn_heads)
        start = torch.rand(len(self.heads) + 1) if learn_shares else 1
        self.shares = nn.Parameter(SHARE * start * torch.ones(len(self.heads) + 1), learn_shares)
        self.space = space
        self.register_buffer("cycle", torch.tensor(-1))
        self.chosen = Survivors(space, {})
        self.begin(-1, random_genotype(space, seed=0))  # until the first cycle

    def begin(self, cycle: int, genotype: Genotype) -> None:
        """Begin a cycle with the cells of a genotype."""
        self.cycle.fill_(cycle)
        ops = one_hot(self.space, genotype, torch.device("cpu")).ops
        self.chosen.choose({kind: weights > 0 for kind, weights in ops.items()})

    def mixing(self) -> Mixing:
        """Return the one-hot mixing weights of the present cells."""
        chosen = {kind: self.chosen.kept(kind) for kind in self.space.kinds}
        running = {kind: self.chosen.running(kind) for kind in self.space.kinds}
        ops = {kind: mask.to(self.shares.dtype) for kind, mask in chosen.items()}
        edges = {kind: mask.any(dim=1).to(self.shares.dtype) for kind, mask in chosen.items()}
        active = {kind: rows for kind, rows in running.items() if rows is not None}
        return Mixing(ops, edges, active)

    def logits(self, stack: CellSupernet, states: Sequence[Tensor], mixing: Mixing) -> list[Tensor]:
        """Return the logits (B, classes) of the heads and of the classifier of a network.

        Args:
            stack: The supernet, or `stack` of this network.
            states: The two outputs of the stem.
            mixing: Its mixing weights.
        """
        outputs = list(stack.outputs(*states, mixing))
        at = [i for i, kind in enumerate(stack.kinds) if kind == "reduce"]
        inner = [head(outputs[i]) for head, i in zip(self.heads, at, strict=True)]
        return [*inner, stack.head(outputs[-1])]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of the present cells for images (B, C, H, W)."""
        logits: Tensor = self.stack(x, self.mixing())
        return logits

    def both(
        self, supernet: CellSupernet, x: Tensor, mixing: Mixing
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits of heads and classifier, of the supernet and of this network.

        The stem runs once for both.

        Args:
            supernet: The supernet.
            x: Images (B, in_channels, H, W).
            mixing: Mixing weights of the supernet.
        """
        states = supernet.stem(supernet.execution.images(x))
        own = self.logits(self.stack, states, self.mixing())
        return self.logits(supernet, states, mixing), own

    def also_in_weights(self) -> list[nn.Parameter]:
        """Return the parameters that the optimizer of the supernet's weights steps too."""
        return [p for p in (*self.heads.parameters(), self.shares) if p.requires_grad]


def _has_normal_and_reduction_cells(supernet: Supernet, space: SearchSpace) -> bool:
    """Return True for a stack of such cells with a classifier."""
    stacked = isinstance(supernet, CellSupernet) and set(space.kinds) == {"normal", "reduce"}
    return stacked and isinstance(supernet.head, ClassificationHead)


def evaluation_network(networks: Any) -> EvaluationNetwork:
    """Return the evaluation network among networks by name, such as `SearchModule.networks`."""
    found = networks[NAME]
    assert isinstance(found, EvaluationNetwork)
    return found
