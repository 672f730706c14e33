"""The summary of a run, for `nas info RUN_DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_lightning.errors import UsageError
from nas_lightning.runs.metrics import Row, read_metrics
from nas_lightning.runs.record_file import NAME, read_record


def run_summary(run_dir: Path) -> dict[str, Any]:
    """Return the record of a run, with the last value of each metric logged by epoch.

    Raises:
        UsageError: The folder holds no record.
    """
    record = read_record(run_dir)
    if not record:
        raise UsageError(f"{run_dir} holds no run: there is no {NAME} that can be read")
    return {**record, "metrics": _last(read_metrics(run_dir))}


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
    lines += ["", f"{'start':<27} {'from epoch, batch':<19} {'to':<8} outcome"]
    lines += [
        f"{start['began']:<27} {_place(start.get('from')):<19} {_place(start.get('to')):<8} "
        f"{start['outcome']}"
        for start in starts
    ]
    lines += ["", *(f"{name:<28} {value:.6g}" for name, value in run["metrics"].items())]
    return "\n".join(lines)


def _place(where: dict[str, int] | None) -> str:
    return "" if where is None else f"{where['epoch']}, {where['batch']}"


def _last(rows: list[Row]) -> Row:
    """Return the last value of each metric logged by epoch, without single α and β."""
    values: Row = {}
    for row in rows:
        if "epoch" in row:
            values |= row
    shown = ("search/", "retrain/")
    return {
        name: value
        for name, value in sorted(values.items())
        if name.startswith(shown) and not name.endswith("_step")
    }
