"""Studies that are killed at random moments report what one does that was not."""

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


def test_killed_at_random_and_run_again_it_is_the_same(tmp_path: Path) -> None:
    write_configurations(tmp_path)
    began = time.monotonic()
    code, said = call(STUDY.replace("--dir s", "--dir whole"), tmp_path)
    assert code == 0, said
    whole = time.monotonic() - began
    generator = random.Random(7)
    kills, status = 0, None
    while status is None and kills < 40:
        process = start(STUDY, tmp_path)
        if kills < 2:  # in the middle, however fast the machine is now
            wait_for_a_checkpoint(process, tmp_path / "s")
        else:
            # about the first third goes into imports and the check of the plan
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=whole * generator.uniform(0.3, 0.7))
        status = process.poll()
        if status is None:
            kills += 1
            # all processes at once, or the first alone
            os.killpg(process.pid, signal.SIGKILL) if kills % 2 else process.kill()
            process.wait()
    print(f"\n{kills} kills of a study of {whole:.0f} s")
    assert status == 0, (tmp_path / "said.txt").read_text()
    assert kills > 1
    assert facts(tmp_path / "s") == facts(tmp_path / "whole")
    assert report(tmp_path / "s") == report(tmp_path / "whole")
