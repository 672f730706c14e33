"""Streams for stdout and stderr that never raise.

A reader that goes away, a lost terminal, a full disk or a terminal that cannot show a character
must not end a run. Nothing slow is imported here.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any, TextIO

GONE = (errno.EPIPE, errno.EIO)
"""The reader of a pipe or the terminal is gone, so nobody misses what is written."""


class _Descriptor(io.FileIO):
    """A file descriptor that takes whatever is written to it.

    Attributes:
        failure: The first error of writing, if any.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes, and return their number even if that fails."""
        try:
            # `None` if the descriptor does not block and is full
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as error:
            self.failure = self.failure or error
            written = len(data)
        return written


def protect() -> None:
    """Replace stdout and stderr of this process by streams that never raise.

    Streams that are not those of the process, such as a test's or a notebook's, are left alone.
    """
    closed = [number for number in range(3) if _is_closed(number)]
    for number in closed:
        # otherwise the next file that is opened would get this number, and what is printed
        os.dup2(_null(), number)
    sys.stdout = _protected(sys.stdout, sys.__stdout__, 1, closed)
    sys.stderr = _protected(sys.stderr, sys.__stderr__, 2, closed)


def exit_code(code: int) -> int:
    """Return the exit code of a command whose output is its result.

    Args:
        code: The exit code as far as the command knows.

    Returns:
        If stdout could not be written and the command knows of no failure: 141 if its reader went
        away, as of a program that SIGPIPE ends, else 1, after a message.
    """
    raw = _descriptor(sys.stdout)
    if raw is None:
        return code
    sys.stdout.flush()
    error, raw.failure = raw.failure, None
    if code or error is None:
        return code
    if error.errno in GONE:
        return 128 + signal.SIGPIPE
    print(f"nas: the output cannot be written: {error.strerror}", file=sys.stderr)
    return 1


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _null() -> int:
    return os.open(os.devnull, os.O_RDWR)


def _protected(now: TextIO | None, own: TextIO | None, number: int, closed: list[int]) -> Any:
    if now is not own or _descriptor(now) is not None:
        return now
    if now is not None:
        with suppress(OSError, ValueError):
            now.flush()
    raw = _Descriptor(number, "w", closefd=False)
    if number in closed:
        raw.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(now, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or raw.isatty(),
        write_through=getattr(now, "write_through", False),
    )


def _descriptor(stream: TextIO | None) -> _Descriptor | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Descriptor) else None
