"""The progress of studies that never ran."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_lightning.architecture import random_genotype
from nas_lightning.display import Bar, Display
from nas_lightning.spaces import get_space
from nas_lightning.studies.plan import RANDOM, Study, retrain_dir, search_dir
from nas_lightning.studies.progress import Line, Progress, Tasks, count, duration, lines
from nas_lightning.studies.results import write_failure
from nas_lightning.studies.run import Watch
from tests.studies.made_up import draw_random, plan, write_finals, write_search

DARTS = get_space("darts")
SECONDS = "nas_lightning.studies.progress.time.monotonic"


def begun(folder: Path, *, table: str | None = None) -> Study:
    """Two methods, two seeds, two random cells; two retrainings each, or a table."""
    more = {} if table is None else {"retrain": None, "table": table}
    study = plan(("a", "b"), 2, random=2, retrain_seeds=2, **more)
    for number in range(2):
        draw_random(folder, DARTS, number)
    return study


def search(folder: Path, method: str, seed: int, seconds: float = 100.0) -> None:
    write_search(folder, method, seed, random_genotype(DARTS, seed), seconds=seconds)


def test_nothing_has_run(tmp_path: Path) -> None:
    study = begun(tmp_path)
    assert count(tmp_path, study, lines(study)) == (Tasks(open=4), Tasks(open=12))
    assert count(tmp_path, study, [Line("a", 1)]) == (Tasks(open=1), Tasks(open=2))
    assert count(tmp_path, study, [Line(RANDOM, 1)]) == (Tasks(), Tasks(open=2))


def test_what_has_ended_and_failed_is_counted(tmp_path: Path) -> None:
    study = begun(tmp_path)
    cell = random_genotype(DARTS, 0)
    search(tmp_path, "a", 0, 70.0)
    write_finals(tmp_path, study, cell, 0, [0.8, 0.9])  # 300 s each
    search(tmp_path, "a", 1, 80.0)
    write_failure(retrain_dir(tmp_path, random_genotype(DARTS, 1), 1001), "no memory")
    write_failure(search_dir(tmp_path, "b", 0), "no memory")  # there is nothing to retrain
    searches, retrains = count(tmp_path, study, lines(study))
    assert searches == Tasks([70.0, 80.0], failed=1, open=1)
    assert retrains == Tasks([300.0, 300.0], failed=1, open=1 + 2 + 4)


def test_a_cell_that_two_methods_found_is_retrained_for_both(tmp_path: Path) -> None:
    study = begun(tmp_path)
    for method in ("a", "b"):
        search(tmp_path, method, 0)
    write_finals(tmp_path, study, random_genotype(DARTS, 0), 0, [0.8, 0.9])
    _, retrains = count(tmp_path, study, [Line("a", 0), Line("b", 0)])
    assert retrains == Tasks([300.0] * 4)


def test_a_table_leaves_nothing_to_retrain(tmp_path: Path) -> None:
    study = begun(tmp_path, table="t.csv")
    search(tmp_path, "b", 1)
    assert count(tmp_path, study, lines(study)) == (Tasks([100.0], open=3), Tasks())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time."""

    def show(seconds: float) -> None:
        monkeypatch.setattr(SECONDS, lambda: seconds)

    show(1000.0)
    return show


def test_what_is_said_of_the_progress(tmp_path: Path, clock: Callable[[float], None]) -> None:
    study = begun(tmp_path)
    progress = Progress(tmp_path, study, lines(study))
    clock(1060.0)
    running = {Line("b", 0), Line("a", 0)}
    assert str(progress.now(running)) == "0/16 runs done  0 failed  running: a 0, b 0"
    search(tmp_path, "a", 0)
    # 100 s of work in a minute; 3 searches and 12 retrainings like it take 15 minutes
    assert str(progress.now()) == "1/16 runs done  0 failed  about 15 min left"
    write_finals(tmp_path, study, random_genotype(DARTS, 0), 0, [0.8, 0.9])
    clock(1070.0)
    # 700 s of work in 70 s; 3 searches of 100 s and 10 retrainings of 300 s take 330 s
    assert str(progress.now()) == "3/16 runs done  0 failed  about 6 min left"
    write_failure(
        search_dir(tmp_path, "b", 1), "no memory"
    )  # its retrainings are no longer to come
    # 2 searches and 8 retrainings: 2,600 s of work
    assert str(progress.now()) == "3/14 runs done  1 failed  about 4 min left"


def test_a_resumed_study_estimates_the_time_by_its_work_since(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    study = begun(tmp_path, table="t.csv")
    search(tmp_path, "a", 0)
    progress = Progress(tmp_path, study, lines(study))
    clock(1060.0)
    assert str(progress.now()) == "1/4 runs done  0 failed"  # its speed is not known yet
    search(tmp_path, "b", 0)
    # 100 s of work in a minute, and twice as much is left
    assert str(progress.now()) == "2/4 runs done  0 failed  about 2 min left"
    for method in ("a", "b"):
        search(tmp_path, method, 1)
    assert str(progress.now()) == "4/4 runs done  0 failed"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (26 * 3600 + 5 * 60, "26 h 05 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Recorded(Display):
    """A terminal that keeps what is drawn."""

    def __init__(self, terminal: bool) -> None:
        super().__init__(io.StringIO())
        self.terminal = terminal
        self.lines: list[str] = []
        self.bars: list[Bar] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def show(self, bar: Bar) -> None:
        self.bars.append(bar)


def test_ended_lines_stay_above_the_bar(tmp_path: Path, clock: Callable[[float], None]) -> None:
    study = begun(tmp_path)
    display = Recorded(terminal=True)
    watch = Watch(Progress(tmp_path, study, lines(study)), display)
    first, second = Line("a", 0), Line("b", 1)
    watch.show({first, second})
    assert display.bars[-1] == Bar(
        ["0/16 runs done", "0/16"], [""], 0, 16, ["0 failed", "running: a 0, b 1"]
    )
    clock(1060.0)
    search(tmp_path, "a", 0)
    write_failure(search_dir(tmp_path, "b", 1), "no memory")
    watch.show({second})
    assert display.lines == ["a 0  1 run done  1:00"]
    clock(1090.0)
    watch.show(set())
    assert display.lines[1:] == ["b 1  0 runs done, 1 failed  1:30"]
    # 100 s of work in 90 s; 2 searches and 10 retrainings like it take 1,080 s
    assert display.bars[-1].right == ["about 18 min left"]
    assert (display.bars[-1].done, display.bars[-1].total) == (2, 14)


def test_a_log_file_gets_a_line_for_each_run_that_ends(tmp_path: Path) -> None:
    study = begun(tmp_path)
    display = Recorded(terminal=False)
    watch = Watch(Progress(tmp_path, study, lines(study)), display)
    for _ in range(2):
        watch.show({Line("a", 0)})
    search(tmp_path, "a", 0)
    for _ in range(2):
        watch.show(set())
    assert [line.split("  ")[0] for line in display.lines] == ["0/16 runs done", "1/16 runs done"]
    assert display.bars == []
