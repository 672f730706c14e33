"""The progress of a study, read from its folder."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from nas_lightning.architecture import Genotype
from nas_lightning.display import Bar
from nas_lightning.studies.plan import (
    RANDOM,
    Study,
    random_cell,
    retrain_dir,
    retrain_seeds,
    search_dir,
)
from nas_lightning.studies.results import Result, read_failure, read_result


@dataclass(frozen=True)
class Line:
    """Runs that follow each other: a search and its retrainings, or those of a random cell.

    Args:
        method: Name of the method, or `random`.
        seed: Seed of the search, or number of the random cell.
    """

    method: str
    seed: int

    def __str__(self) -> str:
        """Return a short name."""
        return f"{self.method} {self.seed}"


def lines(study: Study) -> list[Line]:
    """Return all lines of a study: all methods on the first seed, then all on the next.

    A study that is stopped early has then run all methods equally often.
    """
    found = [Line(method.name, seed) for seed in range(study.seeds) for method in study.methods]
    retrains = 0 if study.retrain is None else study.random
    return found + [Line(RANDOM, number) for number in range(retrains)]


@dataclass
class Tasks:
    """Searches or retrainings of some lines.

    Attributes:
        ended: Seconds of each that has ended well.
        failed: Number that failed.
        open: Number that have not ended.
    """

    ended: list[float] = field(default_factory=list)
    failed: int = 0
    open: int = 0

    def count(self, place: Path | None) -> None:
        """Count the run in a folder; `None` means that the folder is not known yet."""
        if place is not None and (result := read_result(place, Result)) is not None:
            self.ended.append(result["seconds"])
        elif place is not None and read_failure(place) is not None:
            self.failed += 1
        else:
            self.open += 1


def count(folder: Path, study: Study, some: Collection[Line]) -> tuple[Tasks, Tasks]:
    """Count the searches and the retrainings of some lines."""
    searches, retrains = Tasks(), Tasks()
    for line in some:
        path: Path | None = random_cell(folder, line.seed)
        if line.method != RANDOM:
            place = search_dir(folder, line.method, line.seed)
            failed = searches.failed
            searches.count(place)
            if searches.failed > failed:  # nothing to retrain
                continue
            path = place / "genotype.json" if read_result(place, Result) else None
        if study.retrain is None:
            continue
        genotype = None if path is None else Genotype.load(path)
        for seed in retrain_seeds(line.seed, study.retrain_seeds):
            retrains.count(None if genotype is None else retrain_dir(folder, genotype, seed))
    return searches, retrains


@dataclass(frozen=True)
class State:
    """The state of a study.

    Attributes:
        ended: Number of runs that have ended well.
        failed: Number of runs that failed.
        total: Number of all runs.
        seconds: Estimate of the time left; `None` if it is not known.
        running: Names of the lines that are running.
    """

    ended: int
    failed: int
    total: int
    seconds: float | None
    running: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line: runs done, failed and running, and the time left."""
        return "  ".join([f"{self.ended}/{self.total} runs done", *self._rest(), *self._left()])

    def bar(self) -> Bar:
        """Return the same as a bar, with the names of running lines below it."""
        left = [f"{self.ended}/{self.total} runs done", f"{self.ended}/{self.total}"]
        return Bar(left, self._left() or [""], self.ended + self.failed, self.total, self._rest())

    def _left(self) -> list[str]:
        return [] if self.seconds is None else [f"about {duration(self.seconds)} left"]

    def _rest(self) -> list[str]:
        running = [f"running: {', '.join(self.running)}"] if self.running else []
        return [f"{self.failed} failed", *running]


class Progress:
    """The progress of a study, and an estimate of the time left.

    Args:
        folder: The study's folder.
        study: Its plan.
        some: The lines to run.
    """

    def __init__(self, folder: Path, study: Study, some: Sequence[Line]) -> None:
        self.folder, self.study, self.lines = folder, study, some
        self.began = time.monotonic()
        self.before = self._weights(*count(folder, study, some))[0]

    def now(self, running: Collection[Line] = ()) -> State:
        """Return the present state.

        Args:
            running: Lines that are running.
        """
        searches, retrains = count(self.folder, self.study, self.lines)
        ended = len(searches.ended) + len(retrains.ended)
        failed = searches.failed + retrains.failed
        total = ended + failed + searches.open + retrains.open
        done, left = self._weights(searches, retrains)
        seconds = None
        if left and done > self.before:
            seconds = (time.monotonic() - self.began) * left / (done - self.before)
        return State(ended, failed, total, seconds, tuple(sorted(map(str, running))))

    @staticmethod
    def _weights(searches: Tasks, retrains: Tasks) -> tuple[float, float]:
        """Return the seconds of work done, and an estimate of those left."""
        known = searches.ended + retrains.ended
        typical = fmean(known) if known else 0.0
        left = sum(
            tasks.open * (fmean(tasks.ended) if tasks.ended else typical)
            for tasks in (searches, retrains)
        )
        return sum(known), left


def duration(seconds: float) -> str:
    """Return a time as text."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
