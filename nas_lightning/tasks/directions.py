"""The metrics of a task: the main one, and the direction in which each is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torchmetrics import Metric, MetricCollection

from nas_lightning.errors import UsageError
from nas_lightning.tasks.base import Mode, Task


def collected(task: Task, metrics: Mapping[str, Metric] | MetricCollection) -> MetricCollection:
    """Return the metrics of a task as a collection whose metrics are independent of each other.

    Compute groups of torchmetrics merge metrics whose states are equal after the first batch, which
    is a coincidence for some, and a checkpoint within an epoch could not restore them.

    Raises:
        UsageError: There is none, one is called `loss`, or `metrics` returns something else.
    """
    found = dict(metrics.items()) if isinstance(metrics, Mapping | MetricCollection) else {}
    if not found or not all(isinstance(one, Metric) for one in found.values()):
        raise UsageError(
            f"{type(task).__name__}.metrics must return metrics of torchmetrics by name, found "
            f"{metrics!r:.60}"
        )
    if "loss" in found:
        raise UsageError(
            f"{type(task).__name__}.metrics: the name loss is that of the task's loss, which is "
            f"logged already: rename the metric"
        )
    return MetricCollection(cast("dict[str, Metric | MetricCollection]", found),
                            compute_groups=False)  # fmt: skip


def directions(task: Task, metrics: MetricCollection) -> dict[str, Mode | None]:
    """Return the direction in which each metric is better, by name; the main metric comes first.

    Args:
        task: The task, which declares directions.
        metrics: Its metrics, which may have a direction of their own, `higher_is_better`.

    Returns:
        `None` for a metric that neither declares.

    Raises:
        UsageError: A declared direction is neither `max` nor `min`, or not that of the metric, or
            none of the declared metrics exists.
    """
    owner, declared = f"{type(task).__name__}.directions", task.directions
    found = {str(name): metric for name, metric in metrics.items()}
    known = [name for name in declared if name in found]
    if declared and not known:
        raise UsageError(
            f"{owner} has {', '.join(declared)}, but there are the metrics {', '.join(found)}: "
            f"name the main one"
        )
    for name, mode in declared.items():
        if mode not in ("max", "min"):
            raise UsageError(f"{owner}: {name} must be max or min, found {mode!r:.40}")
        own = _own(found[name]) if name in found else None
        if own not in (None, mode):
            raise UsageError(
                f"{owner}: {name} is {mode}, but {type(found[name]).__name__} is better towards "
                f"{own}: set it to {own}"
            )
    first = dict.fromkeys([*known, *found])
    return {name: declared.get(name) or _own(found[name]) for name in first}


def _own(metric: Metric) -> Mode | None:
    """Return the direction that torchmetrics gives a metric, if any."""
    modes: dict[bool | None, Mode] = {True: "max", False: "min"}
    return modes.get(metric.higher_is_better)
