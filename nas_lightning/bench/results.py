"""Results of measurements: rows, the machine that they are from, and changes between results."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, TypedDict

import lightning
import torch

from nas_lightning import __version__
from nas_lightning.bench.case import Step
from nas_lightning.bench.counters import Counts
from nas_lightning.errors import ContentError, DataError, UsageError
from nas_lightning.files import write_text
from nas_lightning.schema import read_value
from nas_lightning.text_files import read_json

FORMAT = 1
COMPARED = ("device", "torch", "threads")
"""Properties of the machine that must be equal for times to be comparable."""


def spread(values: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    middle = median(values)
    return median(abs(value - middle) for value in values)


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """Return the median over rounds of value / base, in which a common drift cancels."""
    return median(value / other for value, other in zip(values, base, strict=True))


@dataclass(frozen=True)
class Row:
    """The measurement of a step of a case.

    Attributes:
        group: Name of the group, which is that of the setting.
        case: Name of the case.
        step: The step.
        images: Samples of a weight step, or of a training batch.
        threads: Number of CPU threads.
        seconds: Time of each round.
        ratio: Median over rounds of the time over that of the first case of the group.
        full_seconds: Time of all training batches of a full run; `None` for steps that are not a
            whole batch of a run.
        counts: Counts of the step; `None` if it was not counted.
    """

    group: str
    case: str
    step: Step
    images: int
    threads: int
    seconds: tuple[float, ...]
    ratio: float
    full_seconds: float | None = None
    counts: Counts | None = None

    def __post_init__(self) -> None:
        """Check that there is a time.

        Raises:
            UsageError: There is none.
        """
        if not self.seconds or min(self.seconds) <= 0:
            raise UsageError("expected at least one time, each above 0")

    @property
    def median(self) -> float:
        """Median time in seconds."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """Median absolute deviation of the times in seconds."""
        return spread(self.seconds)

    @property
    def images_per_second(self) -> float:
        """Samples of weight steps per second."""
        return self.images / self.median

    @property
    def key(self) -> tuple[str, str, str]:
        """Group, case and step, which identify the row in other results."""
        return self.group, self.case, self.step

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the derived numbers."""
        derived = ("median", "spread", "images_per_second")
        return asdict(self) | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True)
class Results:
    """Rows, and the machine that they were measured on.

    Attributes:
        rows: The rows.
        machine: Versions and hardware.
        command: The command line.
    """

    rows: tuple[Row, ...]
    machine: dict[str, Any]
    command: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        content = {
            "format": FORMAT,
            "command": self.command,
            "machine": self.machine,
            "rows": [row.to_dict() for row in self.rows],
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a JSON file.

        Raises:
            DataError: The file is missing, or `nas bench` did not write it.
        """
        content = read_json(path, DataError)
        try:
            found = read_value(_File, content)
            if found["format"] != FORMAT:
                raise ContentError(f"expected {FORMAT}, found {found['format']}", "$.format")
            names = {field.name for field in fields(Row)}
            rows = [{name: row[name] for name in row if name in names} for row in found["rows"]]
            return cls(read_value(tuple[Row, ...], rows, "$.rows"), found["machine"],
                       tuple(found["command"]))  # fmt: skip
        except ContentError as error:
            raise DataError(
                f"{path} is not a file that `nas bench --json` wrote: at {error.path}: "
                f"{error.reason}"
            ) from error


class _File(TypedDict):
    """The content of a file."""

    format: int
    command: list[str]
    machine: dict[str, Any]
    rows: list[dict[str, Any]]


def here(accelerator: str) -> dict[str, Any]:
    """Return versions and hardware of this machine."""
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if gpu else processor(),
        "cuda": torch.version.cuda if gpu else None,
        "threads": torch.get_num_threads(),
        "nas_lightning": __version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """Return the name of the CPU, or its architecture if the system does not know the name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


@dataclass(frozen=True)
class Change:
    """The change of a row between two results.

    Attributes:
        row: The new row.
        ratio: New median over old median.
        noise: Distance of the ratio from 1 that the spreads of both explain.
    """

    row: Row
    ratio: float
    noise: float


def compare(new: Results, old: Results) -> tuple[list[Change], list[str]]:
    """Compare two results.

    Args:
        new: The new result.
        old: The previous result.

    Returns:
        The changes of the rows that both have, and warnings where the two are not comparable.
    """
    return list(_changes(new, old)), list(_warnings(new, old))


def _changes(new: Results, old: Results) -> Iterator[Change]:
    before = {row.key: row for row in old.rows}
    for row in new.rows:
        if (then := before.get(row.key)) is not None:
            noise = row.spread / row.median + then.spread / then.median
            yield Change(row, row.median / then.median, noise)


def _warnings(new: Results, old: Results) -> Iterator[str]:
    for name in COMPARED:
        now, then = new.machine.get(name), old.machine.get(name)
        if now != then:
            yield f"{name} was {then} and is now {now}: times are not comparable"
    there = {row.key: row for row in old.rows}
    for row in new.rows:
        then = there.get(row.key)
        label = " ".join(row.key)
        if then is None:
            yield f"{label} is new"
        elif (then.images, then.threads) != (row.images, row.threads):
            yield (
                f"{label}: batch {then.images} on {then.threads} threads before, "
                f"{row.images} on {row.threads} now"
            )
