"""Which way to run a convolution of the fast cell is faster.

`python benchmarks/convolutions.py` prints ratios of the times of forward and backward passes on 4
edges, by channels C of an edge:

- `first`, `later`: depthwise and pointwise convolution over one dense convolution; above 1 the
  dense one is faster. `first`: the edges read the same channels. `later`: each reads its own. The
  constant `DENSE` of the fast cell comes from these columns.
- `dilated`, `strided`: a depthwise convolution of dilation 2 over the same by grids of pixels, of
  stride 1 and of stride 2; above 1 the grids are faster. They are why `fast/dilated.py` is there.
- `learned`: a dense convolution of dilation 2 over the same whose kernel is learned by grids; above
  1 the latter is faster (`LARGE` of `fast/dilated.py`).
- `strips`: a depthwise convolution whose weights are learned over the same with a gradient by
  strips; above 1 the strips are faster (`fast/depthwise.py`).
- `product`: a pointwise convolution in 4 groups over a product with one matrix; above 1 the product
  is faster. The constant `PRODUCT`, channels of all edges, comes from this column.
- `mixed`: channels of an edge times a matrix over the same as a convolution; above 1 the latter is
  faster (`PIXELS` of `fast/products.py`).
- `tiny`: a convolution of images of at most 256 numbers over a product with one matrix. The
  constant `TINY` comes from this column.
- `grouped`: the same convolution in groups over itself with its weights learned by products; above
  1 the latter is faster. The constant `WIDE` of `fast/grouped.py` comes from this column.
- `norm`: a batch norm of 3C channels over one with zeros up to a multiple of 16; above 1 the zeros
  pay. The constants of `fast/norms.py` come from this column.
- `pools`: a maximum and an average of few channels over those of images side by side as channels;
  above 1 the latter are faster. The constants of `fast/pools.py` come from this column.

CPUs with AVX-512 and others differ most in `first` of 5x5, `product` and `tiny`.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.depthwise import depthwise
from nas_lightning.supernet.fast.dilated import convolve, dilated
from nas_lightning.supernet.fast.grouped import pointwise
from nas_lightning.supernet.fast.norms import WIDE
from nas_lightning.supernet.fast.pools import WIDTH, side_by_side
from nas_lightning.supernet.fast.products import block_diagonal, mix
from nas_lightning.supernet.fast.tiny import product

EDGES = 4
SIZES = ((8, 2), (4, 4), (2, 8), (16, 4), (4, 32), (8, 16), (12, 16), (16, 32), (32, 16), (64, 8))
WIDEST_TINY = 256


class Bench:
    """Ratios of pairs, measured in alternation.

    Args:
        batch: Images.
        repeat: Pairs.
    """

    def __init__(self, batch: int, repeat: int) -> None:
        self.batch, self.repeat = batch, repeat
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def leaf(self, *shape: int) -> Tensor:
        """Random numbers (B, C, H, W) with a gradient."""
        x = torch.randn(shape, device=self.device)
        return x.to(memory_format=torch.channels_last).requires_grad_()

    def ratio(
        self,
        first: Callable[[], Tensor],
        second: Callable[[], Tensor],
        leaves: tuple[list[Tensor], list[Tensor]],
    ) -> float:
        """Median of the time of one over that of the other."""
        pairs = []
        for _ in range(self.repeat + 1):
            times = [self.seconds(*of) for of in zip((first, second), leaves, strict=True)]
            pairs.append(times[0] / times[1])
        return statistics.median(pairs[1:])

    def seconds(self, run: Callable[[], Tensor], leaves: list[Tensor]) -> float:
        """One forward and backward pass."""
        start = time.perf_counter()
        out = run()
        torch.autograd.grad(out, leaves, torch.ones_like(out))
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def separable(self, channels: int, size: int, kernel: int, shared: bool) -> float:
        """Depthwise and pointwise over dense."""
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
        """A dilated depthwise convolution over the same by grids."""
        wide = EDGES * channels
        x = self.leaf(self.batch, wide, size, size)
        conv = nn.Conv2d(wide, wide, kernel, stride, kernel - 1, 2, wide, bias=False)
        conv = conv.to(self.device).to(memory_format=torch.channels_last)
        leaves = [x, conv.weight]

        def by_grids() -> Tensor:
            return convolve(conv, x, conv.weight, None, wide, lambda x: x)

        return self.ratio(lambda: conv(x), by_grids, (leaves, leaves))

    def learned(self, channels: int, size: int, kernel: int) -> float:
        """A dense dilated convolution over the same whose kernel is learned by grids."""
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
        """A batch norm of what is no multiple of 16 over one with zeros behind it."""
        x = self.leaf(self.batch, 3 * channels, size, size)
        zeros = -3 * channels % WIDE
        more = x.detach().new_zeros(self.batch, size, size, zeros).permute(0, 3, 1, 2)
        filled = torch.cat([x, more], dim=1).detach().requires_grad_()
        return self.ratio(
            lambda: F.batch_norm(x, None, None, None, None, training=True),
            lambda: F.batch_norm(filled, None, None, None, None, training=True),
            ([x], [filled]),
        )

    def grouped(self, channels: int, size: int) -> float:
        """A pointwise convolution in groups over itself with a gradient by products."""
        return self.pointwise(channels, size, lambda x, weight: pointwise(x, weight, EDGES))

    def strips(self, channels: int, size: int, kernel: int) -> float:
        """A depthwise convolution over the same with a gradient by strips."""
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
        """A pointwise convolution in groups over one matrix product."""
        return self.pointwise(
            channels, size, lambda x, weight: mix(x, block_diagonal(weight, EDGES))
        )

    def mixed(self, channels: int, size: int) -> float:
        """A product with a matrix over the same as a convolution."""
        x, weight = self.leaf(self.batch, channels, size, size), self.leaf(channels, channels, 1, 1)
        leaves = [x, weight]

        def product() -> Tensor:
            rows = x.permute(0, 2, 3, 1)
            return (rows.flatten(0, 2) @ weight.flatten(1).t()).view(rows.shape)

        return self.ratio(product, lambda: F.conv2d(x, weight), (leaves, leaves))

    def pointwise(
        self, channels: int, size: int, other: Callable[[Tensor, Tensor], Tensor]
    ) -> float:
        """A pointwise convolution in groups over another way to run it."""
        wide = EDGES * channels
        x, weight = self.leaf(self.batch, wide, size, size), self.leaf(wide, channels, 1, 1)
        leaves = [x, weight]
        return self.ratio(
            lambda: F.conv2d(x, weight, groups=EDGES), lambda: other(x, weight), (leaves, leaves)
        )

    def tiny(self, channels: int, size: int, kernel: int) -> float:
        """A convolution of all edges over one matrix product."""
        x = self.leaf(self.batch, channels, size, size)
        conv = nn.Conv2d(channels, EDGES * channels, kernel, padding=kernel // 2, bias=False)
        conv = conv.to(self.device)
        leaves = [x, conv.weight]
        return self.ratio(lambda: conv(x), lambda: product(conv, x, conv.weight), (leaves, leaves))

    def pools(self, channels: int, size: int) -> float:
        """Pools of few channels over those of images side by side."""
        x = self.leaf(self.batch, channels, size, size)
        both = [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)]

        def plain() -> Tensor:
            return torch.cat([pool(x) for pool in both], dim=1)

        images = math.gcd(self.batch, WIDTH // channels)
        return self.ratio(plain, lambda: side_by_side(both, x, images), ([x], [x]))


def main() -> None:
    """Print the table."""
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
            norm = f"{bench.norm(channels, size):.2f}" if 3 * channels % WIDE else "-"
            pools = f"{bench.pools(channels, size):.2f}" if channels < 32 else "-"
            print(
                f"{channels:3}  {size:4}  {kernel:6}  {first:5.2f}  {later:5.2f}  "
                f"{grids:7.2f}  {strided:7.2f}  {by_grids:7.2f}  {strips:6.2f}  {products:7.2f}  "
                f"{tiny:>4}  {pools:>5}  {norm:>4}  {bench.grouped(channels, size):7.2f}  "
                f"{bench.mixed(channels, size):5.2f}"
            )


if __name__ == "__main__":
    main()
