"""Values of a checkpoint that are not finite, from which no result can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from nas_lightning.errors import CheckpointError

LEFT_OUT = frozenset(
    {"callbacks", "hyper_parameters", "loops", "lr_schedulers", "stage_state", "state_dict"}
)
"""Parts whose tensors may be infinite, such as the best value of a metric so far."""


def check_finite(checkpoint: Mapping[str, Any], module: nn.Module) -> None:
    """Check that weights, α, β, statistics and the states of optimizers are finite.

    Args:
        checkpoint: The checkpoint.
        module: The module that loads it. Entries that are not finite there either, such as those of
            a mask, are allowed.

    Raises:
        CheckpointError: One is not. The message names the first.
    """
    if found := first_broken(checkpoint, module.state_dict()):
        raise CheckpointError(
            f"the checkpoint is from a run that diverged or is damaged: {found}; use an earlier "
            f"one, such as previous.ckpt or best.ckpt"
        )


def first_broken(
    checkpoint: Mapping[str, Any], allowed: Mapping[str, Tensor] | None = None
) -> str | None:
    """Return the first tensor that is not finite, such as `arch.alpha.normal has 2 nan of 40`.

    Args:
        checkpoint: A checkpoint.
        allowed: Tensors by name in whose places entries may be infinite or nan.
    """
    same = allowed or {}
    for name, value in checkpoint["state_dict"].items():
        broken = ~value.isfinite()
        if name in same and same[name].shape == value.shape:
            broken &= same[name].to(value.device).isfinite()
        if bool(broken.any()):
            return f"{name} has {count(value[broken], value.numel())}"
    for key, part in checkpoint.items():
        for place, value in () if key in LEFT_OUT else tensors(part, key):
            if not bool(value.isfinite().all()):
                return f"{place} has {count(value, value.numel())}"
    return None


def count(values: Tensor, total: int) -> str:
    """Count the entries that are not finite, such as `2 nan, 1 inf of 27`."""
    found = {"nan": int(values.isnan().sum()), "inf": int(values.isinf().sum())}
    listed = ", ".join(f"{number} {kind}" for kind, number in found.items() if number)
    return f"{listed} of {total}"


def tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested mappings and lists, with their places."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors(item, f"{place}[{index}]")
