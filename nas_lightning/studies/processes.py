"""Processes that work on items, each on one at a time, and end with the process that started them.

Nothing slow is imported here: the environment of a process must be set before torch is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from nas_lightning import printing, signals
from nas_lightning.signals import Inbox, RunInterruptedError, Stopped

Item = TypeVar("Item")
TRIES = 2
"""Number of times that an item is begun if its process dies."""
TICK = 1.0
"""Seconds between two calls of `tick`."""


class ProcessesStoppedError(Exception):
    """A signal came; all processes have ended.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_in_processes(
    work: Callable[[Item], None],
    items: Sequence[Item],
    environments: Sequence[Mapping[str, str]],
    tick: Callable[[set[Item]], None],
) -> list[Item]:
    """Call a function with each item.

    Args:
        work: Called with an item in one of the processes. An error that it raises ends all others.
        items: The items, in the order in which they are begun.
        environments: Environment variables of each process; there are as many processes.
        tick: Called each second with the items in work.

    Returns:
        Items whose process died each time, for example for lack of memory.

    Raises:
        ProcessesStoppedError: A signal came, here or to one of the processes; it was passed on, and
            the processes ended. A second Ctrl-C does not wait for them.
    """
    with signals.received(Inbox(at_once=False)) as inbox:
        return _run(work, items, environments, tick, inbox)


def _run(
    work: Callable[[Item], None],
    items: Sequence[Item],
    environments: Sequence[Mapping[str, str]],
    tick: Callable[[set[Item]], None],
    inbox: Inbox,
) -> list[Item]:
    waiting, died = deque(items), Counter[Item]()
    processes = dict(enumerate(map(_start, environments)))
    running: dict[Future[None], tuple[int, Item]] = {}
    work = partial(_attend, work)
    try:
        while waiting or running:
            for number in sorted(processes.keys() - {number for number, _ in running.values()}):
                if waiting:
                    item = waiting.popleft()
                    with signals.blocked(spawn=True):  # until `_begin`
                        running[processes[number].submit(work, item)] = (number, item)
            done = wait(running, TICK, FIRST_COMPLETED).done
            if inbox.asked:
                raise Stopped(inbox.asked)
            for future in done:
                number, item = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    processes[number].shutdown()
                    processes[number] = _start(environments[number])
                    died[item] += 1
                    if died[item] < TRIES:
                        waiting.append(item)
            tick({item for _, item in running.values()})
    except (Stopped, RunInterruptedError) as stop:
        _terminate()
        raise ProcessesStoppedError(stop.number) from None
    except BaseException:
        _terminate()
        raise
    finally:
        _end(processes.values())
    return [item for item, times in died.items() if times >= TRIES]


def _start(environment: Mapping[str, str]) -> ProcessPoolExecutor:
    """Return a pool of one process, which starts with its first item."""
    # spawned, not forked: torch and CUDA do not survive a fork
    context = multiprocessing.get_context("spawn")
    with signals.blocked(spawn=True):  # its queues start the resource tracker of Python
        return ProcessPoolExecutor(1, context, _begin, (dict(environment),))


def _end(processes: Iterable[ProcessPoolExecutor]) -> None:
    """Wait until each process has finished or saved its item."""
    for process in processes:
        process.shutdown(wait=True, cancel_futures=True)


def _begin(environment: dict[str, str]) -> None:
    """Prepare this process before its first item."""
    # while signals are blocked: one that this thread received would not wake the main thread
    threading.Thread(target=_follow, daemon=True).start()
    signals.begin(Inbox(at_once=False, requeue=False))  # the parent requeues the job
    printing.protect()
    os.environ.update(environment)


def _attend(work: Callable[[Item], None], item: Item) -> None:
    """Call the function, which a signal may stop at once."""
    with signals.attended():
        work(item)


def _follow() -> None:
    """End this process when its parent ends, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _terminate() -> None:
    """Ask the processes to stop; one that already received a signal ignores it."""
    for process in multiprocessing.active_children():
        process.terminate()
