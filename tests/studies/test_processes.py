"""Work on items in spawned processes."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from nas_lightning.studies.processes import ProcessesStoppedError, run_in_processes

# the program of a parent that is killed: it names its processes, and never ends by itself
ENDLESS = """
import sys
from functools import partial
from pathlib import Path
from nas_lightning.studies.processes import run_in_processes
from tests.studies.test_processes import wait_for_ever
if __name__ == "__main__":
    work = partial(wait_for_ever, Path(sys.argv[1]))
    run_in_processes(work, ["a", "b"], [{}, {}], lambda _: None)
"""


def write_down(folder: Path, item: str) -> None:
    (folder / item).write_text(f"{os.getpid()} {os.environ['NUMBER']}")


def die_once(folder: Path, item: str) -> None:
    mark = folder / f"{item}.died"
    if item == "doomed" or (item == "unlucky" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / item).touch()


def raise_it(folder: Path, item: str) -> None:
    if item == "wrong":
        raise ValueError(item)
    time.sleep(600)
    (folder / item).touch()


def wait_for_ever(folder: Path, item: str) -> None:
    (folder / item).write_text(str(os.getpid()))
    time.sleep(600)


def stop_parent(folder: Path, item: str) -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)
    (folder / item).touch()


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def test_two_processes_work_on_each_item_once(tmp_path: Path) -> None:
    ticks: list[set[str]] = []
    items = [f"item {number}" for number in range(6)]
    environments = [{"NUMBER": "first"}, {"NUMBER": "second"}]
    assert run_in_processes(partial(write_down, tmp_path), items, environments, ticks.append) == []
    written = [(tmp_path / item).read_text().split() for item in items]
    assert {number for _, number in written} == {"first", "second"}
    assert len({process for process, _ in written}) == 2
    assert str(os.getpid()) not in {process for process, _ in written}
    assert set().union(*ticks) <= set(items)
    assert ticks[-1] == set()  # the last call is after the last item
    assert max(map(len, ticks)) <= 2


def test_what_dies_under_an_item_is_tried_once_more(tmp_path: Path) -> None:
    items = ["doomed", "unlucky", "fine"]
    assert run_in_processes(partial(die_once, tmp_path), items, [{}], lambda _: None) == ["doomed"]
    assert (tmp_path / "unlucky").exists()
    assert (tmp_path / "fine").exists()
    assert not (tmp_path / "doomed").exists()


def test_what_work_raises_comes_through_and_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong"):
        run_in_processes(partial(raise_it, tmp_path), ["long", "wrong"], [{}, {}], lambda _: None)
    assert not list(tmp_path.iterdir())


def test_sigterm_ends_the_processes_too(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ProcessesStoppedError):
        run_in_processes(partial(stop_parent, tmp_path), ["a", "b"], [{}, {}], lambda _: None)
    assert not list(tmp_path.iterdir())  # in the middle of their ten minutes
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_signal_to_all_of_a_group_ends_without_noise(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(
        ENDLESS.replace(
            "    run_in_processes(", "    with suppress(Exception): run_in_processes("
        ).replace("import sys\n", "import sys\nfrom contextlib import suppress\n")
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not all((tmp_path / item).exists() for item in "ab"):
        assert time.monotonic() < until
        time.sleep(0.1)
    os.killpg(parent.pid, signal.SIGHUP)  # the resource tracker of Python gets it too
    _, err = parent.communicate(timeout=60)
    assert err == ""


def test_processes_do_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": root}
    )
    try:
        marks = [tmp_path / "a", tmp_path / "b"]
        until = time.monotonic() + 120
        while not all(mark.exists() and mark.read_text() for mark in marks):
            assert time.monotonic() < until
            time.sleep(0.1)
        processes = [int(mark.read_text()) for mark in marks]
        assert not any(map(is_gone, processes))
    finally:
        parent.kill()
        parent.wait()
    while not all(map(is_gone, processes)):
        assert time.monotonic() < until
        time.sleep(0.1)
