"""Studies that are killed and stopped at random moments report what one does that was not."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from nas_lightning.studies.results import read_results
from tests.studies.test_study import STUDY, call, start, write_configurations

pytestmark = pytest.mark.faults
WAYS = ("all", "parent", "child", "SIGTERM", "SIGHUP")
"""Processes to kill, or the signal that stops the study."""


def facts(folder: Path) -> list[Any]:
    """All that a study came to, less its times."""
    return [
        [
            *(run.method, run.seed, run.genotype, run.supernet, run.one_shot, dict(run.scores)),
            *(run.finals, run.parameters, run.links, run.failures, run.history),
        ]
        for run in read_results(folder).runs
    ]


def report(folder: Path) -> Any:
    """The numbers of the report, less its times."""
    found = json.loads((folder / "report.json").read_text())
    for run in found["results"]:
        run.pop("cost")
    return found


def wait_for_a_checkpoint(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a run of the study writes a new checkpoint, or the study ends."""

    def written() -> set[int]:
        return {path.stat().st_ino for path in folder.rglob("last.ckpt")}

    before = written()
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # one is replaced at this moment
            if written() - before:
                return
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    """Numbers of the processes that a process has started for the lines of a study."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ppid = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if ppid == parent and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def strike(process: subprocess.Popen[bytes], number: int, draw: random.Random) -> str:
    """Kill or stop a study that runs, in one of five ways; returns which."""
    way = WAYS[number % len(WAYS)]
    if way == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif way == "parent":
        process.kill()
    elif way == "child":
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(draw.choice(children(process.pid)), signal.SIGKILL)
        return way  # the study goes on
    else:
        os.killpg(process.pid, signal.Signals[way])
        code = process.wait(timeout=300)
        assert code in (128 + signal.Signals[way], 0)  # or it ended just before
    process.wait()
    return way


def test_killed_at_random_and_run_again_it_is_the_same(tmp_path: Path) -> None:
    write_configurations(tmp_path)
    began = time.monotonic()
    code, said = call(STUDY.replace("--dir s", "--dir whole"), tmp_path)
    assert code == 0, said
    whole = time.monotonic() - began
    draw = random.Random(7)
    ways: list[str] = []
    status = None
    process = start(STUDY, tmp_path)
    while status is None and len(ways) < 40:
        if len(ways) < len(WAYS):  # in the middle, however fast the machine is now
            wait_for_a_checkpoint(process, tmp_path / "s")
        else:
            # about the first third goes into imports and the check of the plan
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=whole * draw.uniform(0.3, 0.7))
        status = process.poll()
        if status is None:
            ways.append(strike(process, len(ways), draw))
            if (status := process.poll()) not in (None, 0):
                status = None
                process = start(STUDY, tmp_path)
    print(f"\n{len(ways)} blows to a study of {whole:.0f} s: {', '.join(ways)}")
    assert status == 0, (tmp_path / "said.txt").read_text()
    assert set(ways) == set(WAYS)
    assert facts(tmp_path / "s") == facts(tmp_path / "whole")
    assert report(tmp_path / "s") == report(tmp_path / "whole")
    assert "Traceback" not in (tmp_path / "said.txt").read_text()
