"""Communication between processes. No other module uses torch.distributed."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

T = TypeVar("T")

_AS_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
"""Integer type by element size in bytes.

Elements of 8 bytes are read as two numbers: modulo 2⁶⁴, changes of the highest bit in two whole
elements would cancel.
"""


def mean_over_ranks(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the mean of each tensor over all processes, in one reduction.

    A single process gets its tensors back unchanged.

    Args:
        tensors: Tensors of the same shapes, in the same order, on every process.
    """
    if not _several():
        return tuple(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view_as(t) for part, t in zip(parts, tensors, strict=True))


def fingerprint(tensors: Iterable[Tensor]) -> Tensor:
    """Return a checksum () of the bits of all tensors, as int64 on their device.

    The bits of each element are read as an integer and multiplied by an odd number that depends on
    the element's position. The checksum is the sum of the products modulo 2⁶⁴. A change of one
    element always changes it; changes of several elements cancel only by a rare chance.
    """
    sums = []
    first = 0
    for tensor in tensors:
        bits = tensor.detach().reshape(-1).view(_AS_INTEGERS[tensor.element_size()])
        sums.append((bits * _factors(first, len(bits), bits.device)).sum())
        first += len(bits)
    return torch.stack(sums).sum() if sums else torch.zeros((), dtype=torch.int64)


def _factors(first: int, count: int, device: torch.device) -> Tensor:
    """Return pseudo-random odd int64 numbers (count,) for the positions from `first` on."""
    # multipliers of SplitMix64 (Steele et al., 2014), as signed numbers
    place = torch.arange(first, first + count, device=device) * -0x61C8864680B583EB
    place = (place ^ (place >> 30)) * -0x40A7B892E31B1A47
    return (place ^ (place >> 27)) | 1


def gathered(numbers: Tensor) -> Tensor:
    """Return the numbers (n,) of every process as (N, n), by rank."""
    if not _several():
        return numbers[None]
    rows = [torch.empty_like(numbers) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, numbers)
    return torch.stack(rows)


def gather_from_ranks(value: T) -> list[T]:
    """Return the values of all processes, by rank. They must be picklable and on the CPU."""
    if not _several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def replicates_parameters(trainer: Trainer) -> bool:
    """Return True if there are several processes and each holds all parameters, as under DDP."""
    return isinstance(trainer.strategy, DDPStrategy) and trainer.world_size > 1


# Lightning offers no public way to read or set the arguments of DDP


def finds_unused_parameters(trainer: Trainer) -> bool:
    """Return True if weights may get no gradient: with one process, or if DDP allows it."""
    strategy = trainer.strategy
    told = isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("find_unused_parameters")
    return trainer.world_size == 1 or bool(told)


def find_unused_parameters(trainer: Trainer) -> None:
    """Allow weights without a gradient under DDP, unless the user set `find_unused_parameters`."""
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
