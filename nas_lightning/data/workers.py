"""Loading processes that leave signals to the main process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

from torch.utils.data import DataLoader

from nas_lightning import signals
from nas_lightning.printing import protect

SECONDS = 2.0
"""Seconds between two looks at whether the main process still exists."""


@final
class LeaveSignals:
    """A `worker_init_fn` after which only the main process can end the loading process.

    A signal to all processes of a group, such as Ctrl-C, `timeout` or SLURM send it, has no effect
    on a loading process. It ends when the main process asks it to, by SIGTERM or by PyTorch's
    queue, and when the main process does not exist any more.

    Args:
        before: The `worker_init_fn` of the loader, if it has one.
    """

    def __init__(self, before: Callable[[int], Any] | None) -> None:
        self.before = before

    def __call__(self, number: int) -> None:
        """Prepare this process.

        Args:
            number: Number of the process in its loader.
        """
        # already so since its start, unless a server forked it that was started before
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.ALL)
        protect()
        threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
        if self.before is not None:
            self.before(number)


def _follow(parent: int) -> None:
    """End this process when the main process says so or is gone.

    Args:
        parent: Number of the process that forked this one: the main process, or a fork server,
            which ends with the main process.
    """
    main = multiprocessing.parent_process()
    assert main is not None
    while os.getppid() == parent and main.is_alive():
        came = signal.sigtimedwait(signals.ALL, SECONDS)
        if came and came.si_signo == signal.SIGTERM and came.si_pid == main.pid:
            os._exit(0)
    os._exit(1)


@contextmanager
def shielded_workers() -> Iterator[None]:
    """Make loading processes leave signals to the main process, those of any `DataLoader`.

    Processes are concerned that are started inside the context. Contexts may be nested.
    """
    before = DataLoader.__iter__

    def iterate(self: DataLoader[Any]) -> Any:
        if self.num_workers == 0 or not hasattr(signal, "sigtimedwait"):  # macOS lacks it
            return before(self)
        given = self.worker_init_fn
        if not isinstance(given, LeaveSignals):
            self.worker_init_fn = LeaveSignals(given)
        try:
            with signals.blocked(spawn=_spawns(self)):
                return before(self)
        finally:
            self.worker_init_fn = given

    DataLoader.__iter__ = iterate  # type: ignore[method-assign] # Lightning replaces methods too
    try:
        yield
    finally:
        DataLoader.__iter__ = before  # type: ignore[method-assign] # see above


def _spawns(loader: DataLoader[Any]) -> bool:
    """Return True if a loader starts its processes by another method than fork."""
    context = loader.multiprocessing_context or multiprocessing
    method: str = context.get_start_method()
    return method != "fork"
