"""Processes of their own: two gloo ranks, and `nas`.

They are forked from a server that has imported PyTorch and Lightning once, which takes five
seconds of a core; otherwise each starts as a new process does.
"""

import importlib
import multiprocessing
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["nas_lightning.runs.command"])


class Done(NamedTuple):
    """Exit code and output of a process."""

    code: int | None
    out: str
    err: str


def _begin(
    function: Callable[..., int | None],
    arguments: tuple[object, ...],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    """Call a function in this new process, with its output in files, and exit with its result."""
    os.chdir(folder)
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    import torch  # the server has it already

    torch.set_num_threads(1)
    sys.exit(function(*arguments))


def start(
    function: Callable[..., int | None],
    *arguments: object,
    folder: Path,
    out: Path,
    err: Path,
    environment: dict[str, str] | None = None,
) -> ForkServerProcess:
    """Start a function of a module in a process of its own.

    Args:
        function: What to run; its result is the exit code.
        arguments: Its arguments, which can be pickled.
        folder: The working directory.
        out: File that stdout is added to.
        err: File that stderr is added to; may be the same.
        environment: Variables that it gets besides those of this process.
    """
    process = CONTEXT.Process(
        target=_begin,
        args=(function, arguments, folder, environment or {}, out, err),
    )
    process.start()
    return process


def _nas(arguments: list[str], memory: int | None) -> int:
    from nas_lightning.cli import main

    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return main(arguments)


def start_nas(folder: Path, arguments: list[str], memory: int | None = None) -> ForkServerProcess:
    """Start `nas` in a folder; `folder/out.txt` and `folder/err.txt` get what it writes.

    Args:
        folder: The working directory.
        arguments: Of the command line.
        memory: Most bytes that the process may map; `None` sets no limit.
    """
    return start(
        _nas, arguments, memory, folder=folder, out=folder / "out.txt", err=folder / "err.txt"
    )


def run_nas(
    folder: Path, arguments: list[str], memory: int | None = None, seconds: float = 280
) -> Done:
    """Run `nas` in a folder, in a process of its own, see `start_nas`."""
    for name in ("out.txt", "err.txt"):
        (folder / name).unlink(missing_ok=True)
    process = start_nas(folder, arguments, memory)
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"nas ran longer than {seconds} s: {(folder / 'err.txt').read_text()}")
    return Done(
        process.exitcode, (folder / "out.txt").read_text(), (folder / "err.txt").read_text()
    )


def _rank(module: str, function: str, folder: Path) -> None:
    getattr(importlib.import_module(module), function)(folder)


def run_two_processes(module: str, function: str, folder: Path, seconds: int = 300) -> None:
    """Call `function(folder)` of a test module in two processes, as ranks 0 and 1.

    They are killed after so many seconds.

    Raises:
        AssertionError: One of them failed; shows what it wrote.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    written = [folder / f"process-{rank}.log" for rank in range(2)]
    processes = [
        start(
            _rank,
            module,
            function,
            folder,
            folder=Path.cwd(),
            out=log,
            err=log,
            environment={
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
        )
        for rank, log in enumerate(written)
    ]
    try:
        until = time.monotonic() + seconds
        while any(process.is_alive() for process in processes):
            # one that failed leaves the other waiting
            if any(process.exitcode for process in processes) or time.monotonic() > until:
                break
            time.sleep(0.1)
        # those last that only wait for another
        ended = sorted(zip(processes, written, strict=True), key=lambda pair: pair[0].is_alive())
        for process, log in ended:
            assert process.exitcode == 0, log.read_text()
    finally:
        for process in processes:
            process.kill()
            process.join()
