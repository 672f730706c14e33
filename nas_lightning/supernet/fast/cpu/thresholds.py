"""All measured thresholds of the fast cell.

`python benchmarks/convolutions.py` measures them, with forward and backward passes on two cores of
a CPU. Each threshold names the column of its table that it was read from, except `SMALL_STATE`,
which no column measures. Some have one value for CPUs with AVX-512 and one for others. Modules look
them up at every call, so a test can replace one here.
"""

import torch

AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""True if the vectors of this CPU hold 16 numbers in single precision."""

BFLOAT16 = hasattr(torch.cpu, "get_capabilities") and bool(
    torch.cpu.get_capabilities().get("avx512_bf16", False)
)
"""True if this CPU multiplies numbers in bfloat16. Older releases of PyTorch cannot tell."""

# -- any device ------------------------------------------------------------------------------------

SMALL_STATE = 2**15
"""Elements in the mixed channels of a state up to which the inputs of a cell run together. An
operation then takes as long for one input as for both."""

NORM_WIDTH = 16
"""Batch norms of fewer channels run together (column `norm`): alone they take about as long as one
of this many channels. A CPU's vectors take this many channels at a time, and the remaining channels
take long."""

# -- CPU: convolutions as matrix products, products as convolutions --------------------------------

DENSE = 16
"""Largest number of channels of an edge for which a depthwise and a pointwise convolution run as
one dense convolution (columns `first` and `later`): where all edges read the same channels, and
everywhere if states are small."""

WIDE_DENSE = DENSE if AVX512 else 8
"""`DENSE` for undilated kernels of more than 3x3 pixels (column `first` with kernel 5)."""

PRODUCT = 48 if AVX512 else 16
"""Largest number of channels of all edges together for which pointwise convolutions of several
edges are one product with a block-diagonal matrix (column `product`, on both kinds of CPU). The
pointwise convolution of a single edge is always a product."""

TINY = 128 if AVX512 else 64
"""Largest number of elements of an image for which its convolutions are matrix products (column
`tiny`, on both kinds of CPU)."""

CONVOLUTION_PIXELS = 2**40 if AVX512 else 2**15
"""Least number of pixels in a batch for which `products.mix` is a convolution (column `mixed`).
Measured on AVX2 only, so AVX-512 never uses the convolution."""

VECTOR = 8
"""Channels that a vector of AVX2 holds: `products.mix` is a convolution only if vectors are full,
or if one vector is enough."""

# -- CPU: gradients of convolutions, batch norms, pools --------------------------------------------

WIDE_GROUP = 16
"""Least number of channels in a group for which the kernel of a grouped pointwise convolution gets
its gradient from products (column `grouped`)."""

STRIP = 3
"""Most columns of a depthwise kernel for which its gradient is fast (column `strips`)."""

LARGE_DILATED = 512
"""Least number of elements of an image for which the kernel of a dilated convolution gets its
gradient from grids (column `learned`). Depthwise ones always run on grids (columns `dilated` and
`strided`)."""

NORM_PIXELS = 2**13
"""Least number of pixels in a batch for which channels beyond a multiple of `NORM_WIDTH` slow down
a batch norm (column `norm`)."""

POOL_WIDTH = 64
"""Channels that pools of few channels run on, once images are laid side by side as channels (column
`pools`)."""

FEW_POOLED = 16
"""Pools of fewer channels put images side by side, if an image has at least this many times as many
pixels as channels (column `pools`)."""
