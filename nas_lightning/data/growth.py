"""Batches that grow at the ends of epochs."""

from __future__ import annotations

from itertools import pairwise
from typing import TypedDict

from nas_lightning.errors import UsageError
from nas_lightning.ranges import at_least, check_value


class BatchGrowth(TypedDict):
    """The growth of training batches, as plain data of a configuration.

    Attributes:
        by: Number of samples, per process, by which a batch grows each time.
        after: Epochs, counted from 0, at whose ends the batches grow, in increasing order.
    """

    by: int
    after: list[int]


def check_growth(name: str, growth: BatchGrowth) -> None:
    """Check the growth of batches.

    Args:
        name: Name of the setting, for messages.
        growth: The growth.

    Raises:
        UsageError: A number is out of range, or the epochs do not increase.
    """
    if set(growth) != {"by", "after"}:
        found = ", ".join(growth) or "none"
        raise UsageError(f"{name} needs the settings by and after, found {found}")
    check_value(f"{name}.by", growth["by"], at_least(1))
    after = growth["after"]
    for epoch in after:
        check_value(f"{name}.after", epoch, at_least(0))
    if not after or any(first >= second for first, second in pairwise(after)):
        raise UsageError(f"{name}.after must list epochs in increasing order, found {after}")


def grown(batch_size: int, growth: BatchGrowth | None, epoch: int | None = None) -> int:
    """Return the number of samples of a training batch.

    Args:
        batch_size: Number of samples of a batch in the first epoch.
        growth: Growth of the batches; `None` if they do not grow.
        epoch: The epoch, counted from 0; `None` for the largest batch.
    """
    if growth is None:
        return batch_size
    steps = sum(epoch is None or end < epoch for end in growth["after"])
    return batch_size + growth["by"] * steps
