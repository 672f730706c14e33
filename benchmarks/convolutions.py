"""Which way to run a convolution of the fast cell is faster.

`python benchmarks/convolutions.py` prints ratios of the times of forward and backward passes on 4
edges, by channels C of an edge:

- `first`, `later`: depthwise and pointwise convolution over one dense convolution; above 1 the
  dense one is faster. `first`: the edges read the same channels. `later`: each reads its own. The
  constant `DENSE` of the fast cell comes from these columns.
- `dilated`, `strided`: a depthwise convolution of dilation 2 over the same by grids of pixels, of
  stride 1 and of stride 2; above 1 the grids are faster. They are why `fast/dilated.py` is there.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_lightning.supernet.fast.dilated import convolve

EDGES = 4
SIZES = ((2, 8), (4, 32), (8, 16), (16, 32), (32, 16), (64, 8))


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    bench = Bench(options.batch, options.repeat)
    print(f"batch {options.batch}, {bench.device}, {torch.get_num_threads()} threads")
    print("  C  size  kernel  first  later  dilated  strided")
    for channels, size in SIZES:
        for kernel in (3, 5):
            first, later = (bench.separable(channels, size, kernel, s) for s in (True, False))
            grids, strided = (bench.dilated(channels, size, kernel, s) for s in (1, 2))
            print(
                f"{channels:3}  {size:4}  {kernel:6}  {first:5.2f}  {later:5.2f}  "
                f"{grids:7.2f}  {strided:7.2f}"
            )


if __name__ == "__main__":
    main()
