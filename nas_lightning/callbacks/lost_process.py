"""Processes of a run that die while others wait for them."""

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
"""Seconds in which a process that lost another one may end by itself, with a message."""


class LostProcess(Callback):
    """See to it that a run ends, with a word, when one of its processes on this machine has died.

    Lightning starts the processes of a run on one machine, and looks after them every five
    seconds: when one has died it kills the others, before they can say anything. Here they get
    time to end by themselves, as they do where the connection breaks; only one that hangs is
    ended, and says so.

    Processes that SLURM or torchrun started are looked after by these.
    """

    def __init__(self) -> None:
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._ending = threading.Event()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look after the processes in Lightning's place."""
        children = getattr(trainer.strategy.launcher, "procs", ())
        if not children or self._children:
            return
        self._children = children
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                # it ends when none of its processes is left
                thread._child_processes = []  # type: ignore[attr-defined] # of Lightning
        threading.Thread(target=self._watch, name="lost-process", daemon=True).start()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Note on the exception which process went away, if that is known by now."""
        self._ending.set()
        if self._children and not isinstance(exception, NASError):
            time.sleep(1.0)  # a process that failed needs a moment to end
        for found in self._lost():
            exception.add_note(found)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """All went well."""
        self._ending.set()

    def _lost(self) -> list[str]:
        """How processes ended that did not end well."""
        fates = {rank: child.poll() for rank, child in enumerate(self._children, start=1)}
        return [f"process {rank} {_fate(code)}" for rank, code in fates.items() if code]

    def _watch(self) -> None:
        while not self._lost():
            if self._ending.wait(1.0):
                return
        if self._ending.wait(GRACE):
            return
        print(f"nas: {', '.join(self._lost())}; this one waits in vain and ends", file=sys.stderr)
        for child in self._children:
            child.kill()
        os._exit(1)  # the main thread may be anywhere, and not come back


def _fate(code: int) -> str:
    """`was killed by SIGKILL`, or `ended with code 1`."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
