"""The metrics that a run logs, and whether higher or lower is better."""

from __future__ import annotations

from lightning import LightningModule

from nas_lightning.errors import UsageError
from nas_lightning.tasks.base import Mode
from nas_lightning.training.stage import Stage

MAIN = "main"
"""Name that stands for the main metric of the task on the validation data."""


def logged_metrics(
    module: LightningModule, streams: tuple[str, ...] = ()
) -> dict[str, Mode | None]:
    """Return the metrics of a task that a fit logs by epoch.

    Args:
        module: Module of the run; one that is no `Stage` has none that are known.
        streams: Only these streams; by default all.

    Returns:
        By name the direction in which the metric is better; `None` if nothing says.
    """
    if not isinstance(module, Stage):
        return {}
    found: dict[str, Mode | None] = {}
    for stream, prefix in module.prefixes.items():
        if not streams or stream in streams:
            training = stream in module.train_streams
            found |= module.streams.logged(prefix, training=training)
    return found


def named_metric(module: LightningModule, monitor: str) -> str:
    """Return the name of a monitored metric as it is logged: that of the task for `main`.

    Raises:
        UsageError: The module has no task.
    """
    if monitor != MAIN:
        return monitor
    if not isinstance(module, Stage):
        raise UsageError(
            f"checkpoint.monitor {MAIN}: {type(module).__name__} has no task: name a metric, or "
            f"set it to null"
        )
    return f"{module.prefixes['val']}_{module.streams.main}"


def mode_of(module: LightningModule, monitor: str, given: Mode | None, where: str) -> Mode:
    """Return the direction in which a monitored metric is better.

    Args:
        module: Module of the run.
        monitor: Name of the metric.
        given: The direction that the configuration names, if any.
        where: Setting that names the direction, for messages.

    Raises:
        UsageError: The metric has another direction, or neither it nor the configuration says any.
    """
    own = logged_metrics(module).get(monitor)
    if own is not None and given not in (None, own):
        better = "lower" if own == "min" else "higher"
        raise UsageError(
            f"{where} is {given}, but {monitor} is better when it is {better}: set it to {own}"
        )
    if own is None and given is None:
        raise UsageError(f"nothing says when {monitor} is better: set {where} to min or max")
    found = own or given
    assert found is not None
    return found
