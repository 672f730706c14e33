"""The summary of a run, for `nas info RUN_DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas_lightning.errors import ContentError, UsageError
from nas_lightning.runs.metrics import Row, read_metrics
from nas_lightning.runs.record_file import NAME, read_record
from nas_lightning.training.epochs import reached


def run_summary(run_dir: Path) -> dict[str, Any]:
    """Return the record of a run, with the last value of each metric logged by epoch.

    `metric_epochs` holds the epoch of each value, counted from 0 as in `metrics.csv`.

    Raises:
        UsageError: The folder holds no record.
        ContentError: The record lists no start, or one that says too little.
    """
    record = read_record(run_dir)
    if not record:
        raise UsageError(f"{run_dir} holds no run: there is no {NAME} that can be read")
    for start in record["starts"][-1:] or [{}]:
        if "environment" not in start:
            raise ContentError("the last start has no environment", "$.starts", str(run_dir / NAME))
    last = _last(read_metrics(run_dir))
    return {
        **record,
        "metrics": {name: value for name, (value, _) in last.items()},
        "metric_epochs": {name: epoch for name, (_, epoch) in last.items()},
    }


def describe_run(run_dir: Path) -> str:
    """Return the summary of a run as text.

    Raises:
        UsageError: The folder holds no record.
    """
    run = run_summary(run_dir)
    starts = run["starts"]
    end = starts[-1]
    machine = end["environment"]
    facts = {
        "run": f"{run['kind']}, seed {run['seed']}, configuration {run['config_hash']}",
        "outcome": end["outcome"] + (f": {end['message']}" if "message" in end else ""),
        "version": f"{machine['nas_lightning']}, commit {machine['git'] or 'unknown'}",
        "on": f"{machine['processes']} x {machine['device']}, {machine['nodes']} node(s), "
        f"torch {machine['torch']}",
        "time": f"{sum(start.get('seconds', 0) for start in starts):,.0f} s",
        "speed": f"{end.get('samples_per_second', 0):,.1f} samples a second",
        "peak memory": f"{max(start.get('peak_memory_mib', 0) for start in starts):,.0f} MiB",
    }
    lines = [f"{name:<14} {text}" for name, text in facts.items()]
    lines += ["", f"{'start':<27} {'from':<20} {'to':<20} outcome"]
    lines += [
        f"{start['began']:<27} {_place(start.get('from')):<20} {_place(start.get('to')):<20} "
        f"{start['outcome']}"
        for start in starts
    ]
    return "\n".join([*lines, "", *_metrics(run["metrics"], run["metric_epochs"])])


def _metrics(values: dict[str, float], epochs: dict[str, int]) -> Iterator[str]:
    """Yield a line for each value, with its epoch if later ones have values of other metrics."""
    newest = max(epochs.values(), default=0)
    for name, value in values.items():
        of = "" if epochs[name] == newest else f"  (epoch {epochs[name] + 1})"
        yield f"{name:<28} {value:.6g}{of}"


def _place(where: dict[str, int] | None) -> str:
    return "" if where is None else reached(where["epoch"], where["batch"])


def _last(rows: list[Row]) -> dict[str, tuple[float, int]]:
    """Return the last value of each metric logged by epoch, and its epoch, without α and β."""
    values: dict[str, tuple[float, int]] = {}
    for row in rows:
        if "epoch" in row:
            values |= {name: (value, int(row["epoch"])) for name, value in row.items()}
    shown = ("search/", "retrain/")
    return {
        name: value
        for name, value in sorted(values.items())
        if name.startswith(shown) and not name.endswith("_step")
    }
