"""Two gloo processes that run the same function of a test module."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def run_two_processes(module: str, function: str, folder: Path) -> None:
    """Call `function(folder)` of a test module in two processes, as ranks 0 and 1.

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
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
