"""Compare the ways in which the fast cell can run a convolution.

`python benchmarks/convolutions.py` prints ratios of the times of forward and backward passes on 4
edges. C is the number of channels of an edge. A ratio above 1 means that the second way is faster.
The thresholds of `nas_lightning/supernet/fast/cpu/thresholds.py` are read from these columns:

- `first`, `later`: a depthwise and a pointwise convolution over one dense convolution. In `first`
  the edges read the same channels, in `later` each reads its own. Thresholds: `DENSE`,
  `WIDE_DENSE`.
- `dilated`, `strided`: a depthwise convolution of dilation 2 over the same one on grids of pixels,
  with stride 1 and with stride 2. No threshold: grids are always used.
- `learned`: a dense convolution of dilation 2 over the same one whose kernel gets its gradient from
  grids. Threshold: `LARGE_DILATED`.
- `strips`: a depthwise convolution over the same one whose kernel gets its gradient in strips.
  Threshold: `STRIP`.
- `product`: a pointwise convolution in 4 groups over a product with one matrix. Threshold:
  `PRODUCT`, in channels of all edges.
- `mixed`: a product of the channels of an edge with a matrix over the same as a convolution.
  Threshold: `CONVOLUTION_PIXELS`.
- `tiny`: a convolution of images of at most 256 elements over a product with one matrix. Threshold:
  `TINY`.
- `grouped`: a grouped pointwise convolution over the same one whose kernel gets its gradient from
  products. Threshold: `WIDE_GROUP`.
- `norm`: a batch norm of 3C channels over one with zeros up to a multiple of 16. Thresholds:
  `NORM_WIDTH`, `NORM_PIXELS`.
- `pools`: max and average pooling of few channels over the same with images side by side as
  channels. Thresholds: `POOL_WIDTH`, `FEW_POOLED`.

CPUs with and without AVX-512 differ most in `first` with 5x5 kernels, `product` and `tiny`.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.cpu.depthwise import depthwise
from nas_lightning.supernet.fast.cpu.dilated import convolve, dilated
from nas_lightning.supernet.fast.cpu.grouped import pointwise
from nas_lightning.supernet.fast.cpu.pools import side_by_side
from nas_lightning.supernet.fast.cpu.thresholds import NORM_WIDTH, POOL_WIDTH
from nas_lightning.supernet.fast.cpu.tiny import product
from nas_lightning.supernet.fast.products import block_diagonal, mix

EDGES = 4
SIZES = ((8, 2), (4, 4), (2, 8), (16, 4), (4, 32), (8, 16), (12, 16), (16, 32), (32, 16), (64, 8))
WIDEST_TINY = 256


class Bench:
    """Measures ratios of times, with the two functions of a pair in alternation.

    Args:
        batch: Number of images.
        repeat: Number of pairs of times.
    """

    def __init__(self, batch: int, repeat: int) -> None:
        self.batch, self.repeat = batch, repeat
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def leaf(self, *shape: int) -> Tensor:
        """Return random numbers (B, C, H, W) that require a gradient."""
        x = torch.randn(shape, device=self.device)
        return x.to(memory_format=torch.channels_last).requires_grad_()

    def ratio(
        self,
        first: Callable[[], Tensor],
        second: Callable[[], Tensor],
        leaves: tuple[list[Tensor], list[Tensor]],
    ) -> float:
        """Return the median of the time of `first` over the time of `second`."""
        pairs = []
        for _ in range(self.repeat + 1):
            times = [self.seconds(*of) for of in zip((first, second), leaves, strict=True)]
            pairs.append(times[0] / times[1])
        return statistics.median(pairs[1:])

    def seconds(self, run: Callable[[], Tensor], leaves: list[Tensor]) -> float:
        """Return the time of one forward and backward pass."""
        start = time.perf_counter()
        out = run()
        torch.autograd.grad(out, leaves, torch.ones_like(out))
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def separable(self, channels: int, size: int, kernel: int, shared: bool) -> float:
        """Compare a depthwise and a pointwise convolution with a dense one."""
        wide, padding = EDGES * channels, kernel // 2
        x = self.leaf(self.batch, channels if shared else wide, size, size)
        dense = self.leaf(wide, channels, kernel, kernel)
        depthwise, pointwise = self.leaf(wide, 1, kernel, kernel), self.leaf(wide, channels, 1, 1)

        def apart() -> Tensor:
            spread = torch.cat([x] * EDGES, dim=1) if shared else x
            spread = F.conv2d(spread, depthwise, padding=padding, groups=wide)
            return F.conv2d(spread, pointwise, groups=EDGES)

        def as_one() -> Tensor:
            return F.conv2d(x, dense, padding=padding, groups=1 if shared else EDGES)

        return self.ratio(apart, as_one, ([x, depthwise, pointwise], [x, dense]))

    def dilated(self, channels: int, size: int, kernel: int, stride: int) -> float:
        """Compare a dilated depthwise convolution with the same one on grids."""
        wide = EDGES * channels
        x = self.leaf(self.batch, wide, size, size)
        conv = nn.Conv2d(wide, wide, kernel, stride, kernel - 1, 2, wide, bias=False)
        conv = conv.to(self.device).to(memory_format=torch.channels_last)
        leaves = [x, conv.weight]

        def by_grids() -> Tensor:
            return convolve(conv, x, conv.weight, None, wide, lambda x: x)

        return self.ratio(lambda: conv(x), by_grids, (leaves, leaves))

    def learned(self, channels: int, size: int, kernel: int) -> float:
        """Compare a dense dilated convolution with one that is learned by grids."""
        half = kernel // 2
        x = self.leaf(self.batch, channels, size, size)
        weight = self.leaf(EDGES * channels, channels, kernel, kernel)
        leaves = [x, weight]
        return self.ratio(
            lambda: F.conv2d(x, weight, padding=2 * half, dilation=2),
            lambda: dilated(x, weight, (half, half), 2),
            (leaves, leaves),
        )

    def norm(self, channels: int, size: int) -> float:
        """Compare a batch norm of 3C channels with one of zeros up to a multiple of 16."""
        x = self.leaf(self.batch, 3 * channels, size, size)
        zeros = -3 * channels % NORM_WIDTH
        more = x.detach().new_zeros(self.batch, size, size, zeros).permute(0, 3, 1, 2)
        filled = torch.cat([x, more], dim=1).detach().requires_grad_()
        return self.ratio(
            lambda: F.batch_norm(x, None, None, None, None, training=True),
            lambda: F.batch_norm(filled, None, None, None, None, training=True),
            ([x], [filled]),
        )

    def grouped(self, channels: int, size: int) -> float:
        """Compare a grouped pointwise convolution with one that is learned by products."""
        return self.pointwise(channels, size, lambda x, weight: pointwise(x, weight, EDGES))

    def strips(self, channels: int, size: int, kernel: int) -> float:
        """Compare a depthwise convolution with one that is learned in strips."""
        wide, padding = EDGES * channels, kernel // 2
        x = self.leaf(self.batch, wide, size, size)
        weight = self.leaf(wide, 1, kernel, kernel)
        leaves = [x, weight]
        return self.ratio(
            lambda: F.conv2d(x, weight, padding=padding, groups=wide),
            lambda: depthwise(x, weight, (padding, padding)),
            (leaves, leaves),
        )

    def product(self, channels: int, size: int) -> float:
        """Compare a grouped pointwise convolution with one matrix product."""
        return self.pointwise(
            channels, size, lambda x, weight: mix(x, block_diagonal(weight, EDGES))
        )

    def mixed(self, channels: int, size: int) -> float:
        """Compare a product with a matrix with the same as a convolution."""
        x, weight = self.leaf(self.batch, channels, size, size), self.leaf(channels, channels, 1, 1)
        leaves = [x, weight]

        def product() -> Tensor:
            rows = x.permute(0, 2, 3, 1)
            return (rows.flatten(0, 2) @ weight.flatten(1).t()).view(rows.shape)

        return self.ratio(product, lambda: F.conv2d(x, weight), (leaves, leaves))

    def pointwise(
        self, channels: int, size: int, other: Callable[[Tensor, Tensor], Tensor]
    ) -> float:
        """Compare a grouped pointwise convolution with another way to run it."""
        wide = EDGES * channels
        x, weight = self.leaf(self.batch, wide, size, size), self.leaf(wide, channels, 1, 1)
        leaves = [x, weight]
        return self.ratio(
            lambda: F.conv2d(x, weight, groups=EDGES), lambda: other(x, weight), (leaves, leaves)
        )

    def tiny(self, channels: int, size: int, kernel: int) -> float:
        """Compare the convolution of all edges with one matrix product."""
        x = self.leaf(self.batch, channels, size, size)
        conv = nn.Conv2d(channels, EDGES * channels, kernel, padding=kernel // 2, bias=False)
        conv = conv.to(self.device)
        leaves = [x, conv.weight]
        return self.ratio(lambda: conv(x), lambda: product(conv, x, conv.weight), (leaves, leaves))

    def pools(self, channels: int, size: int) -> float:
        """Compare pools of few channels with pools of images side by side."""
        x = self.leaf(self.batch, channels, size, size)
        both = [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)]

        def plain() -> Tensor:
            return torch.cat([pool(x) for pool in both], dim=1)

        images = math.gcd(self.batch, POOL_WIDTH // channels)
        return self.ratio(plain, lambda: side_by_side(both, x, images), ([x], [x]))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    bench = Bench(options.batch, options.repeat)
    kind = torch.backends.cpu.get_cpu_capability()
    print(f"batch {options.batch}, {bench.device}, {torch.get_num_threads()} threads, CPU: {kind}")
    print(
        "  C  size  kernel  first  later  dilated  strided  learned  strips  product  tiny  pools  "
        "norm  grouped  mixed"
    )
    for channels, size in SIZES:
        for kernel in (3, 5):
            first, later = (bench.separable(channels, size, kernel, s) for s in (True, False))
            grids, strided = (bench.dilated(channels, size, kernel, s) for s in (1, 2))
            strips, products = bench.strips(channels, size, kernel), bench.product(channels, size)
            is_tiny = channels * size**2 <= WIDEST_TINY
            tiny = f"{bench.tiny(channels, size, kernel):.2f}" if is_tiny else "-"
            by_grids = bench.learned(channels, size, kernel)
            norm = f"{bench.norm(channels, size):.2f}" if 3 * channels % NORM_WIDTH else "-"
            pools = f"{bench.pools(channels, size):.2f}" if channels < 32 else "-"
            print(
                f"{channels:3}  {size:4}  {kernel:6}  {first:5.2f}  {later:5.2f}  "
                f"{grids:7.2f}  {strided:7.2f}  {by_grids:7.2f}  {strips:6.2f}  {products:7.2f}  "
                f"{tiny:>4}  {pools:>5}  {norm:>4}  {bench.grouped(channels, size):7.2f}  "
                f"{bench.mixed(channels, size):5.2f}"
            )


if __name__ == "__main__":
    main()
