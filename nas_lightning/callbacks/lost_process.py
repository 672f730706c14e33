"""Handling of processes that die while other processes of the run wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from lightning import Callback, LightningModule, Trainer

from nas_lightning.errors import NASError

GRACE = 20.0
"""Seconds that a process has to end on its own, with a message, after another one died."""


class LostProcess(Callback):
    """End a run with a message when one of its processes on this machine has died.

    Lightning starts the processes of a run on one machine and checks them every five seconds. When
    one has died, it kills the others before they can print anything. This callback gives them time
    to end on their own, as they do when the connection breaks. Only a process that hangs is ended,
    with a message.

    SLURM and torchrun watch the processes that they started themselves.
    """

    def __init__(self) -> None:
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._ending = threading.Event()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch the processes instead of Lightning."""
        children = getattr(trainer.strategy.launcher, "procs", ())
        if not children or self._children:
            return
        self._children = children
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                # the thread ends when it has no processes left
                thread._child_processes = []  # type: ignore[attr-defined] # of Lightning
        threading.Thread(target=self._watch, name="lost-process", daemon=True).start()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Add a note to the exception that names the processes that failed, if any."""
        self._ending.set()
        if self._children and not isinstance(exception, NASError):
            time.sleep(1.0)  # a process that failed needs a moment to end
        for found in self._lost():
            exception.add_note(found)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop watching."""
        self._ending.set()

    def _lost(self) -> list[str]:
        """Describe the processes that failed."""
        fates = {rank: child.poll() for rank, child in enumerate(self._children, start=1)}
        return [f"process {rank} {_fate(code)}" for rank, code in fates.items() if code]

    def _watch(self) -> None:
        while not self._lost():
            if self._ending.wait(1.0):
                return
        if self._ending.wait(GRACE):
            return
        print(f"nas: {', '.join(self._lost())}; stopping this process too", file=sys.stderr)
        for child in self._children:
            child.kill()
        os._exit(1)  # the main thread may hang anywhere


def _fate(code: int) -> str:
    """Describe an exit code, such as `was killed by SIGKILL` or `ended with code 1`."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
