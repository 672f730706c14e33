"""Tables of latencies, measured by `nas latency` or brought from another device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from nas_lightning.architecture.resources import Part, Resource
from nas_lightning.architecture.units import Place, units
from nas_lightning.errors import UsageError
from nas_lightning.files import write_text
from nas_lightning.ranges import NOT_NEGATIVE, at_least, check
from nas_lightning.schema import read_file
from nas_lightning.text import few

FORMAT: Literal["nas-lightning latency"] = "nas-lightning latency"


@dataclass(frozen=True)
class Row:
    """The latency of an operation at one size; see `Place`.

    Attributes:
        operation: Name of the operation.
        channels_in: Channels of its input.
        channels_out: Channels or features of its output.
        stride: Its stride.
        size: Height of its input in pixels.
        milliseconds: Median time for one batch.
        spread: Interquartile range of the times, in milliseconds; `None` if it is not known.

    Raises:
        UsageError: A number is out of range.
    """

    operation: str
    channels_in: int
    channels_out: int
    stride: int
    size: int
    milliseconds: float
    spread: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        check(self, channels_in=at_least(1), channels_out=at_least(1))
        check(self, stride=at_least(1), size=at_least(1))
        check(self, milliseconds=NOT_NEGATIVE, spread=NOT_NEGATIVE)

    @property
    def place(self) -> Place:
        """Operation and size."""
        sizes = self.channels_in, self.channels_out, self.stride, self.size
        return Place(self.operation, *sizes)


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of operations on one device.

    Attributes:
        format: The format's name.
        version: The format's version.
        device: Name of the device.
        batch_size: Number of images in a batch.
        threads: Number of threads; `None` if it is not known.
        warm_up: Number of runs before the measured ones; `None` if it is not known.
        repeat: Number of measured runs of each row; `None` if it is not known.
        rows: The rows.

    Raises:
        UsageError: A row occurs twice.
    """

    format: Literal["nas-lightning latency"]
    version: Literal[1]
    device: str
    batch_size: int
    rows: list[Row]
    threads: int | None = None
    warm_up: int | None = None
    repeat: int | None = None

    def __post_init__(self) -> None:
        """Check the rows."""
        if len(self.by_place) < len(self.rows):
            places = [row.place for row in self.rows]
            twice = next(place for place in places if places.count(place) > 1)
            raise UsageError(f"the row {twice} occurs twice")

    @cached_property
    def by_place(self) -> dict[Place, float]:
        """Milliseconds by operation and size."""
        return {row.place: row.milliseconds for row in self.rows}

    @classmethod
    def load(cls, path: Path) -> LatencyTable:
        """Read a table.

        Raises:
            NASError: The file cannot be read, or has other content; names the place.
        """
        return read_file(cls, path)

    def save(self, path: Path) -> None:
        """Write the table."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


class Latency(Resource):
    """Milliseconds for one batch by a table: the sum over all modules, as if one ran at a time.

    Args:
        table: The table.
        source: Its file, for messages.
    """

    name = "latency"
    unit = "ms"
    units: ClassVar[dict[str, float]] = {"": 1, "us": 1e-3, "ms": 1, "s": 1e3}
    counted = False

    def __init__(self, table: LatencyTable, source: str) -> None:
        self.table = table
        self.source = source

    def costs(
        self, network: nn.Module, parts: Sequence[Part], inputs: Any
    ) -> tuple[list[float], float]:
        """Return the milliseconds of each part and of everything else.

        Raises:
            UsageError: The table lacks rows, which the message names, or the network has no images.
        """
        found = units(network, parts, inputs)
        rows = self.table.by_place
        needed = dict.fromkeys(place for unit in found for place in unit.places)
        if missing := [str(place) for place in needed if place not in rows]:
            raise UsageError(
                f"{self.source} has no row for {few(missing)}: add them, or measure by nas latency"
            )
        costs, fixed = [0.0] * len(parts), 0.0
        for unit in found:
            cost = sum(rows[place] for place in unit.places)
            if unit.owner is None:
                fixed += cost
            else:
                costs[unit.owner] += cost
        return costs, fixed
