"""Loading processes leave signals to the main process, and end with it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from nas_lightning.data.workers import shielded_workers
from nas_lightning.signals import ALL
from tests import processes  # its server is one that was started before, without the shield
from tests.studies.test_processes import is_gone

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core


class Numbers(Dataset[int]):
    """Numbers from 0; the number `stuck` is never ready."""

    def __init__(self, stuck: int | None = None) -> None:
        self.stuck = stuck

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        while index == self.stuck:
            time.sleep(1)
        return index


def seen(number: int) -> None:
    """A `worker_init_fn` of a user, who sees a process in which nothing is left to prepare."""
    assert set(ALL) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    torch.manual_seed(number)


def workers() -> list[Any]:
    """The loading processes of this process."""
    return [p for p in multiprocessing.active_children() if p.daemon]


def send_all(process: int) -> None:
    """Send all signals from a process that is not the main one."""
    sender = os.fork()
    if not sender:
        for number in ALL:
            os.kill(process, number)
        os._exit(0)
    os.waitpid(sender, 0)


@pytest.mark.parametrize(
    ("method", "persistent"),
    [
        ("fork", True),
        ("fork", False),
        ("forkserver", True),
        pytest.param("forkserver", False, marks=pytest.mark.long),
        pytest.param("spawn", True, marks=pytest.mark.long),  # each imports torch
        pytest.param("spawn", False, marks=pytest.mark.long),
    ],
)
def test_signals_to_loading_processes_have_no_effect(method: str, persistent: bool) -> None:
    with shielded_workers():
        loader = DataLoader(
            Numbers(),
            num_workers=1 if method == "spawn" else 2,
            multiprocessing_context=method,
            persistent_workers=persistent,
            worker_init_fn=seen,
        )
        for _ in range(2):
            found = []
            for batch in loader:
                found.append(int(batch))
                if batch == 2:
                    for process in workers():
                        send_all(process.pid)
            assert found == list(range(12))
        assert loader.worker_init_fn is seen
    # the main process ends them, as it always does
    del loader
    assert not workers()


def test_signals_before_a_loading_process_is_ready_have_no_effect() -> None:
    started: list[int] = []
    start = multiprocessing.Process.start

    def start_and_send(process: Any) -> None:
        start(process)
        send_all(process.pid)
        started.append(process.pid)

    with pytest.MonkeyPatch.context() as patch, shielded_workers():
        patch.setattr("multiprocessing.process.BaseProcess.start", start_and_send)
        loader = DataLoader(Numbers(), num_workers=2, multiprocessing_context="fork")
        assert [int(batch) for batch in loader] == list(range(12))
    assert len(started) == 2


def test_a_signal_to_the_main_process_waits_until_they_are_started() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        with shielded_workers():
            loader = DataLoader(Numbers(), num_workers=1, multiprocessing_context="fork")
            iterator = iter(loader)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert came == [signal.SIGUSR1]
            assert int(next(iterator)) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_main_process_can_end_one_that_is_stuck() -> None:
    with shielded_workers():
        loader = DataLoader(Numbers(stuck=2), num_workers=1, multiprocessing_context="fork")
        iterator = iter(loader)
        assert int(next(iterator)) == 0
    (worker,) = workers()
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0  # so that PyTorch does not take it for a failure
    del iterator


def test_without_the_shield_a_signal_ends_them() -> None:
    """The test above could not fail otherwise."""
    loader = DataLoader(Numbers(stuck=0), num_workers=1, multiprocessing_context="fork")
    iterator = iter(loader)
    (worker,) = workers()

    def go_on() -> None:
        send_all(worker.pid)  # PyTorch may notice the end here already
        next(iterator)

    with pytest.raises(RuntimeError, match="DataLoader worker"):
        go_on()


def load(folder: Path, method: str) -> int:
    """Load in a process that is killed: one process of it is idle, one is stuck."""
    with shielded_workers():
        loader = DataLoader(
            Numbers(stuck=1), num_workers=2, multiprocessing_context=method, persistent_workers=True
        )
        iterator: Iterator[Any] = iter(loader)
        next(iterator)
        found = " ".join(str(process.pid) for process in workers())
        (folder / "part").write_text(found)
        (folder / "part").rename(folder / "workers")
        time.sleep(600)
    return 0


@pytest.mark.parametrize("method", ["fork", pytest.param("forkserver", marks=pytest.mark.long)])
def test_they_do_not_outlive_a_main_process_that_is_killed(method: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    main = processes.start(load, tmp_path, method, folder=tmp_path, out=log, err=log)
    until = time.monotonic() + 120
    while not (tmp_path / "workers").exists():
        assert time.monotonic() < until, log.read_text()
        assert main.is_alive(), log.read_text()
        time.sleep(0.05)
    main.kill()
    main.join()
    loading = [int(number) for number in (tmp_path / "workers").read_text().split()]
    assert len(loading) == 2
    while not all(map(is_gone, loading)):
        assert time.monotonic() < until
        time.sleep(0.05)
