"""The file `run.json`, in which a run records its starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "run.json"
FORMAT = "nas-lightning run"
VERSION = 1
RUNNING, FINISHED, STOPPED, REQUEUED, FAILED, KILLED = (
    "running", "finished", "stopped", "requeued", "failed", "killed",
)  # fmt: skip
"""Outcomes of a start. A start that is recorded as running and does not run was killed."""


def read_record(run_dir: Path) -> dict[str, Any]:
    """Return the record in a run directory; empty if there is none that can be read."""
    try:
        found = json.loads((run_dir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


def last_start(run_dir: Path) -> dict[str, Any]:
    """Return the newest start in a run directory's record; empty if there is none."""
    starts: list[dict[str, Any]] = read_record(run_dir).get("starts", [])
    return starts[-1] if starts else {}
