"""Signals that ask a process to stop: who receives them, and the errors that end a run.

Nothing slow is imported here: signals are received before anything else is done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

from nas_lightning.errors import NASError

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; `kill`, `scancel` and the pre-emption of a job by SLURM; a terminal that is closed."""
REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that SLURM is asked to send before the time limit (submitit uses the second)."""
ALL = (*STOP, *REQUEUE)
IGNORED = frozenset(number for number in ALL if signal.getsignal(number) is signal.SIG_IGN)
"""Signals that this process was started to ignore, such as SIGHUP by `nohup`; they stay ignored."""


SECONDS_UNTIL_AGAIN = 0.01
START_AGAIN = "the same command with --ckpt_path auto starts it again"
"""Advice for a run that was stopped before there was anything to save."""


class Stopped(BaseException):
    """A signal came at a moment when there was nothing to save.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        """Name the signal."""
        return f"stopped by {signal.Signals(self.number).name}"


class RunInterruptedError(NASError):
    """The run was stopped and can be resumed.

    Args:
        text: Message.
        number: Number of the signal.
    """

    everywhere = True

    def __init__(self, text: str, number: int = signal.SIGINT) -> None:
        super().__init__(text)
        self.number = number
        self.exit_code = exit_code_of(number)


class RunRequeuedError(RunInterruptedError):
    """The run was stopped and its job requeued, so that it resumes on its own."""


class Inbox:
    """The signals that came to this process.

    Args:
        at_once: True if a signal raises `Stopped` where the program is; False if it is only noted.
        requeue: False if SIGUSR1 and SIGUSR2 mean the same as SIGTERM.

    Attributes:
        asked: Number of the first signal; 0 for none.
        notice: A line to print when a signal is noted; empty for none.
        deferred: Signals that are only noted in any case.
        raised: True if `Stopped` was raised.
        handled: True if an error with a message of its own was raised in its place.
    """

    def __init__(self, *, at_once: bool = True, requeue: bool = True) -> None:
        self.at_once = at_once
        self.requeue = requeue
        self.asked = 0
        self.notice = ""
        self.deferred: tuple[int, ...] = ()
        self.raised = False
        self.handled = False
        self._before: dict[int, Any] = {}
        self._report_dropped: Callable[[sys.UnraisableHookArgs], Any] | None = None

    def install(self) -> None:
        """Receive the signals, also if another handler was installed since the last call."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ALL:
            handler = signal.getsignal(number)
            if number not in IGNORED and handler != self._receive:
                self._before.setdefault(number, handler)
                signal.signal(number, self._receive)
        if self._report_dropped is None:
            self._report_dropped, sys.unraisablehook = sys.unraisablehook, self._dropped

    def restore(self) -> None:
        """Install the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._report_dropped is not None:
            sys.unraisablehook, self._report_dropped = self._report_dropped, None

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Let a signal raise `Stopped` inside the context.

        Raises:
            Stopped: A signal came, before or inside.
        """
        before, self.at_once = self.at_once, True
        try:
            if self.asked and not self.raised and self.asked not in self.deferred:
                self.raised = True
                raise Stopped(self.asked)
            yield
        finally:
            self.at_once = before

    def _dropped(self, found: sys.UnraisableHookArgs) -> None:
        """Send the signal again if Python dropped its `Stopped`, as in `__del__` or a callback."""
        if isinstance(found.exc_value, Stopped):
            number, self.asked, self.raised = self.asked, 0, False
            # another thread sends it, since this call would drop the error once more
            again = threading.Timer(SECONDS_UNTIL_AGAIN, self._send_again, (number,))
            again.daemon = True
            again.start()
        elif self._report_dropped is not None:
            self._report_dropped(found)

    def _send_again(self, number: int) -> None:
        if self._before:  # otherwise the program has ended its work
            os.kill(os.getpid(), number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first = not self.asked
        if first:
            self.asked = signal.SIGTERM if number in REQUEUE and not self.requeue else number
        if self.at_once and not self.raised and number not in self.deferred:
            self.raised = True
            raise Stopped(self.asked)
        if first and self.notice:
            more = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
            say(self.notice + more)
        elif not first and number == signal.SIGINT:
            raise KeyboardInterrupt


_current: list[Inbox] = []


def current() -> Inbox | None:
    """Return the inbox of this process, or `None` if nobody receives its signals."""
    return _current[-1] if _current else None


def attended() -> AbstractContextManager[None]:
    """Let a signal raise `Stopped` inside the context, if this process receives signals."""
    inbox = current()
    return nullcontext() if inbox is None else inbox.attended()


def begin(inbox: Inbox) -> None:
    """Receive the signals of this process from now on, including those that were blocked."""
    _current.append(inbox)
    inbox.install()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)


@contextmanager
def received(inbox: Inbox) -> Iterator[Inbox]:
    """Receive the signals of this process inside the context."""
    _current.append(inbox)
    inbox.install()
    try:
        yield inbox
    finally:
        inbox.restore()
        _current.remove(inbox)


@contextmanager
def blocked(*, spawn: bool) -> Iterator[None]:
    """Block the signals for processes that are started inside the context: they inherit it.

    A signal to this process waits for the end of the context.

    Args:
        spawn: True if a process may be started by another method than fork.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    try:
        if spawn:
            from multiprocessing import resource_tracker  # only now: most commands do without it

            # otherwise the first process would start it, which unblocks SIGINT and SIGTERM
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stopped_by(error: BaseException) -> int:
    """Return the number of the signal that an error comes from; 0 if from none.

    Whatever fails after `Stopped` was raised is a consequence of it, until that is `handled`.
    """
    if isinstance(error, Stopped):
        return error.number
    inbox = current()
    return inbox.asked if inbox and inbox.raised and not inbox.handled else 0


def exit_code_of(number: int) -> int:
    """Return the exit code of a command that a signal ended, as a shell reports it."""
    return 128 + number


def say(text: str) -> None:
    """Print a line to stderr from a signal handler, which may have interrupted another print."""
    try:
        print(f"\n{text}", file=sys.stderr, flush=True)
    except RuntimeError:  # a reentrant call
        with suppress(OSError):
            os.write(2, f"\n{text}\n".encode(errors="backslashreplace"))
