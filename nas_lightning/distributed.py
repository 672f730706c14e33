"""Several processes: what is exchanged between them; nothing else touches torch.distributed."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

T = TypeVar("T")

_AS_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int32}
"""By size in bytes; long ones as two, since a factor can move the highest bits no further."""


def mean_over_ranks(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The mean over all processes of each tensor, in one reduction; as they are in one process.

    Args:
        tensors: The same shapes, in the same order, on every process.
    """
    if not _several():
        return tuple(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view_as(t) for part, t in zip(parts, tensors, strict=True))


def fingerprint(tensors: Iterable[Tensor]) -> Tensor:
    """One number () for the bits of all tensors, int64, found on their device.

    The bits of each element count as integers, times odd numbers that their place gives, modulo
    2⁶⁴. So a change of one element always shows, changes of several cancel by rare chance only.
    """
    sums = []
    first = 0
    for tensor in tensors:
        bits = tensor.detach().reshape(-1).view(_AS_INTEGERS[tensor.element_size()])
        sums.append((bits * _factors(first, len(bits), bits.device)).sum())
        first += len(bits)
    return torch.stack(sums).sum() if sums else torch.zeros((), dtype=torch.int64)


def _factors(first: int, count: int, device: torch.device) -> Tensor:
    """Odd int64 numbers (count,) without a pattern, of the places from `first` on."""
    # the multipliers of SplitMix64 (Steele et al., 2014), as signed numbers
    place = torch.arange(first, first + count, device=device) * -0x61C8864680B583EB
    place = (place ^ (place >> 30)) * -0x40A7B892E31B1A47
    return (place ^ (place >> 27)) | 1


def gathered(numbers: Tensor) -> Tensor:
    """The numbers (n,) of every process (N, n), by rank."""
    if not _several():
        return numbers[None]
    rows = [torch.empty_like(numbers) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, numbers)
    return torch.stack(rows)


def gather_from_ranks(value: T) -> list[T]:
    """A value of each process, by rank, on all of them; it must be picklable and on the CPU."""
    if not _several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def replicates_parameters(trainer: Trainer) -> bool:
    """Whether each of several processes holds all parameters, as under DDP."""
    return isinstance(trainer.strategy, DDPStrategy) and trainer.world_size > 1


# Lightning offers no public way to ask or to tell DDP's arguments


def finds_unused_parameters(trainer: Trainer) -> bool:
    """Whether the run copes with weights that get no gradient: one process, or DDP told so."""
    strategy = trainer.strategy
    told = isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("find_unused_parameters")
    return trainer.world_size == 1 or bool(told)


def find_unused_parameters(trainer: Trainer) -> None:
    """Tell DDP that some weights may get no gradient, unless the user told it something else."""
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
