"""Where depthwise and pointwise convolution are faster as one dense convolution.

`python benchmarks/dense_or_separable.py` prints, for the channels C of an edge, the time of a
forward and backward pass of a separable convolution on 4 edges, as a ratio to that of the dense
one: above 1 the dense one is faster. `first`: the edges read the same channels. `later`: each
reads its own. The constants `DENSE_FIRST` and `DENSE_LATER` of the fast cell come from this table.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

EDGES = 4
SIZES = ((2, 8), (4, 32), (8, 16), (16, 32), (32, 16), (64, 8))


def milliseconds(run: Callable[[], Tensor], leaves: list[Tensor], device: torch.device) -> float:
    """One forward and backward pass."""
    start = time.perf_counter()
    out = run()
    torch.autograd.grad(out, leaves, torch.ones_like(out))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def ratio(
    channels: int,
    size: int,
    kernel: int,
    shared: bool,
    batch: int,
    repeat: int,
    device: torch.device,
) -> float:
    """Median ratio of pairs, measured in alternation."""
    wide = EDGES * channels

    def leaf(*shape: int) -> Tensor:
        x = torch.randn(shape, device=device)
        return (x.to(memory_format=torch.channels_last) if x.dim() == 4 else x).requires_grad_()

    x = leaf(batch, channels if shared else wide, size, size)
    dense = leaf(wide, channels, kernel, kernel)
    depthwise, pointwise = leaf(wide, 1, kernel, kernel), leaf(wide, channels, 1, 1)
    padding = kernel // 2

    def as_one() -> Tensor:
        return F.conv2d(x, dense, padding=padding, groups=1 if shared else EDGES)

    def apart() -> Tensor:
        spread = torch.cat([x] * EDGES, dim=1) if shared else x
        return F.conv2d(
            F.conv2d(spread, depthwise, padding=padding, groups=wide), pointwise, groups=EDGES
        )

    pairs = []
    for _ in range(repeat + 1):
        one = milliseconds(as_one, [x, dense], device)
        two = milliseconds(apart, [x, depthwise, pointwise], device)
        pairs.append(two / one)
    return statistics.median(pairs[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"separable / dense, batch {options.batch}, {device}, {torch.get_num_threads()} threads")
    print("  C  size  kernel  first  later")
    for channels, size in SIZES:
        for kernel in (3, 5):
            first, later = (
                ratio(channels, size, kernel, shared, options.batch, options.repeat, device)
                for shared in (True, False)
            )
            print(f"{channels:3}  {size:4}  {kernel:6}  {first:5.2f}  {later:5.2f}")


if __name__ == "__main__":
    main()
