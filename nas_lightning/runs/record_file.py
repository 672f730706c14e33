"""The file `run.json`, in which a run records its starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Required, TypedDict

from nas_lightning.errors import ContentError
from nas_lightning.schema import read_file
from nas_lightning.text import shown

NAME = "run.json"
FORMAT = "nas-lightning run"
VERSION = 1
RUNNING, FINISHED, STOPPED, REQUEUED, FAILED, KILLED = (
    "running", "finished", "stopped", "requeued", "failed", "killed",
)  # fmt: skip
"""Outcomes of a start. A start that is recorded as running and does not run was killed."""


class Position(TypedDict):
    """A place in a run, counted from 0."""

    epoch: int
    batch: int


class Environment(TypedDict):
    """Software and hardware of a start, as far as `nas info` shows them."""

    nas_lightning: str
    git: str | None
    torch: str
    device: str
    processes: int
    nodes: int


Start = TypedDict(
    "Start",
    {
        "began": Required[str],
        "outcome": Required[str],
        "process": Required[int],
        "host": Required[str],
        "job": str | None,
        "checkpoint": str | None,
        "csv": str | None,
        "environment": Environment,
        "from": Position,
        "first_step": int,
        "until": str,
        "to": Position,
        "seconds": float,
        "training_seconds": float,
        "cpu_seconds": float,
        "samples": int,
        "samples_per_second": float,
        "peak_memory_mib": float,
        "broken_images": list[str],
        "message": str,
    },
    total=False,
)


class Record(TypedDict):
    """The content of the file. A later release may add keys."""

    format: str
    version: int
    kind: str
    seed: str | None
    config_hash: str
    starts: list[Start]


def read_record(run_dir: Path) -> dict[str, Any]:
    """Return the record in a run directory; empty if there is none.

    Raises:
        NASError: There is one that cannot be read, or that is not the record of a run.
    """
    path = run_dir / NAME
    if not os.path.lexists(path):
        return {}
    found = read_file(Record, path)
    if found["format"] != FORMAT or found["version"] != VERSION:
        reason = f"expected {FORMAT!r}, version {VERSION}, found {shown(found['format'])}, version "
        raise ContentError(f"{reason}{found['version']}", "$.format", str(path))
    return dict(found)


def last_start(run_dir: Path) -> dict[str, Any]:
    """Return the newest start in a run directory's record; empty if there is none.

    Raises:
        NASError: There is a record that cannot be read.
    """
    starts: list[dict[str, Any]] = read_record(run_dir).get("starts", [])
    return starts[-1] if starts else {}
