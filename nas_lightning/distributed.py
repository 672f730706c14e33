"""Several processes: the mean of tensors over them; nothing else touches torch.distributed."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor


def mean_over_ranks(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The mean over all processes of each tensor, in one reduction; as they are in one process.

    Args:
        tensors: The same shapes, in the same order, on every process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tuple(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(part.view_as(t) for part, t in zip(parts, tensors, strict=True))


def finds_unused_parameters(trainer: Trainer) -> bool:
    """Whether the run copes with weights that get no gradient: one process, or DDP told so."""
    strategy = trainer.strategy
    # Lightning offers no public way to ask
    told = isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("find_unused_parameters")
    return trainer.world_size == 1 or bool(told)
