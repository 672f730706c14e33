"""The fast cell: equal to the reference cell, with few large operations in place of many small.

All edges that leave a state read the same channels, so for each state

- operations without weights run once, and one matrix product mixes them for every target;
- an operation with weights runs once for all edges, as convolutions over the channels of all;
- weights of operations and edges are the scale of the last batch norm, which is there anyway;
- channels that pass operations by, and their shuffles, are one matrix product a cell;
- cells that read one state share its ReLU and the convolution behind it.
"""

from nas_lightning.supernet.fast.cell import fast_cell
from nas_lightning.supernet.fast.preprocess import fast_preprocess

__all__ = ["fast_cell", "fast_preprocess"]
