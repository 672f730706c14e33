"""Ctrl-C in a separate process: the run saves after the batch and resumes to the same end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from tests.cli.conftest import LONG, Nas

PAUSED, GO_ON = Path("paused"), Path("go_on")


class Pause(Callback):
    """Wait in the second batch of the second epoch, so that the signal arrives in mid-epoch."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            PAUSED.touch()
            wait_for(GO_ON)


def wait_for(path: Path, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


def interrupt(line: str) -> tuple[int, str]:
    """Run `nas` in a separate process, send SIGINT in mid-epoch; return exit code and stderr."""
    command = [sys.executable, "-m", "nas_lightning", *line.split()]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(PAUSED, process)
        process.send_signal(signal.SIGINT)
        GO_ON.touch()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err


@pytest.mark.slow
def test_interrupted_run_resumes_to_the_same_end(nas: Nas, whole: Path) -> None:
    code, err = interrupt(f"{LONG} --trainer.callbacks tests.runs.test_interrupt.Pause")
    assert code == 130, err
    first, *_, last = err.strip().splitlines()
    assert first == "nas: finishing this batch, then saving; Ctrl-C again stops at once"
    assert last.startswith("nas: stopped after epoch 2 of 3, batch 2: go on with ")
    assert "--ckpt_path last" in last
    assert "Traceback" not in err
    folder = Path("runs/search/checkpoints")
    assert {path.name for path in folder.iterdir()} == {"last.ckpt", "previous.ckpt"}
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    assert saved["epoch"] == 1
    assert saved["Synthetic"] == {"epoch": 1, "batch": 2}

    _, *printed = shlex.split(last.partition("go on with ")[2])  # after the path of `nas`
    resumed = nas("", *printed)
    assert resumed.code == 0, resumed.err
    assert "epoch 1/3" not in resumed.out
    assert "epoch 2/3" in resumed.out
    ends = [
        torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
        for run_dir in (Path("runs/search"), whole)
    ]
    assert ends[0]["global_step"] == ends[1]["global_step"]
    one, other = (end["state_dict"] for end in ends)
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []
