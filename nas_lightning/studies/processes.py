"""Lanes: processes that work items off, one at a time each, and do not outlive the one that asked.

Nothing is imported here that takes long: the environment of a lane must stand before torch comes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
TRIES = 2
"""How often an item is begun whose process dies under it."""
TICK = 1.0
"""Seconds between two looks."""


class LanesStoppedError(Exception):
    """A signal came; all lanes have ended."""


def run_lanes(
    work: Callable[[Item], None],
    items: Sequence[Item],
    environments: Sequence[Mapping[str, str]],
    tick: Callable[[set[Item]], None],
) -> list[Item]:
    """Work all items off.

    Args:
        work: Called with an item in the process of a lane. What it raises ends the others too.
        items: What is to be done, in this order.
        environments: One lane each, with these variables in its environment.
        tick: Called each second with the items that are being worked on.

    Returns:
        Items whose process died each time, such as for lack of memory.

    Raises:
        LanesStoppedError: Ctrl-C or SIGTERM; the lanes were told and have ended.
    """
    waiting, died = deque(items), Counter[Item]()
    lanes = dict(enumerate(map(_lane, environments)))
    running: dict[Future[None], tuple[int, Item]] = {}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            for lane in sorted(lanes.keys() - {lane for lane, _ in running.values()}):
                if waiting:
                    item = waiting.popleft()
                    running[lanes[lane].submit(work, item)] = (lane, item)
            done = wait(running, TICK, FIRST_COMPLETED).done
            for future in done:
                lane, item = running.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    lanes[lane].shutdown()
                    lanes[lane] = _lane(environments[lane])
                    died[item] += 1
                    if died[item] < TRIES:
                        waiting.append(item)
            tick({item for _, item in running.values()})
    except KeyboardInterrupt:
        _tell_lanes()
        raise LanesStoppedError from None
    except BaseException:
        _tell_lanes()
        raise
    finally:
        _end(lanes.values())
        signal.signal(signal.SIGTERM, before)
    return [item for item, times in died.items() if times >= TRIES]


def _lane(environment: Mapping[str, str]) -> ProcessPoolExecutor:
    # spawned, not forked: torch and CUDA do not survive a fork
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, _begin, (dict(environment),))


def _end(lanes: Any) -> None:
    """Wait until each lane has finished or saved what it runs."""
    for lane in lanes:
        lane.shutdown(wait=True, cancel_futures=True)


def _begin(environment: dict[str, str]) -> None:
    """Prepare the process of a lane."""
    os.environ.update(environment)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End with the process that asked, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _tell_lanes() -> None:
    """Ask the lanes to stop; one that heard Ctrl-C by itself does not mind."""
    for process in multiprocessing.active_children():
        process.terminate()
