"""The fast cell: equal to the reference cell up to rounding, with few large operations.

All edges that leave a state read the same channels. For each state

- operations without weights run once, and one matrix product mixes them for every target;
- an operation with weights runs once for all edges, as convolutions over the channels of all;
- the mixing weights are the scale of the last batch norm, which runs in any case.

Partial channels: the channels that bypass the operations, and their shuffles, are one matrix
product per cell. Cells that read the same state share its ReLU and the convolution that follows.
"""

from nas_lightning.supernet.fast.cell import fast_cell
from nas_lightning.supernet.fast.preprocess import fast_preprocess

__all__ = ["fast_cell", "fast_preprocess"]
