"""Two gloo processes that run the same function of a test module."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path


def _still_runs(pair: tuple[subprocess.Popen[bytes], Path]) -> bool:
    """Sorts those last that only wait for another."""
    return pair[0].poll() is None


def run_two_processes(module: str, function: str, folder: Path, seconds: int = 300) -> None:
    """Call `function(folder)` of a test module in two processes, as ranks 0 and 1.

    They are killed after so many seconds.

    Raises:
        AssertionError: One of them failed; shows what it wrote.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(__file__).parents[1])
    shared = {
        "PYTHONPATH": os.pathsep.join([root, *sys.path]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    code = f"import pathlib, {module} as t; t.{function}(pathlib.Path({str(folder)!r}))"
    written = [folder / f"process-{rank}.log" for rank in range(2)]
    processes = []
    for rank, log in enumerate(written):
        with log.open("w") as file:  # not a pipe: nobody reads the second while the first runs
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        until = time.monotonic() + seconds
        while any(process.poll() is None for process in processes):
            # one that failed leaves the other waiting
            if any(process.poll() for process in processes) or time.monotonic() > until:
                break
            time.sleep(0.1)
        for process, log in sorted(zip(processes, written, strict=True), key=_still_runs):
            assert process.poll() == 0, log.read_text()
    finally:
        for process in processes:
            process.kill()
            process.wait()
