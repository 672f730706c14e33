"""Signals to all processes of a run: it saves after the batch and resumes to the same end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from nas_lightning.signals import ALL
from tests.cli.conftest import LONG, RETRAIN, Nas

PAUSED, GO_ON = Path("paused"), Path("go_on")
PAUSE = "--trainer.callbacks tests.runs.test_interrupt.Pause"


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


def interrupt(line: str, number: int = signal.SIGINT) -> tuple[int, str]:
    """Run `nas` in a separate process, and send a signal to its group in mid-epoch.

    A terminal, `timeout` and SLURM send signals like that: to loading processes too.

    Returns:
        Exit code and stderr.
    """
    command = [sys.executable, "-m", "nas_lightning", *line.split()]
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(PAUSED, process)
        os.killpg(process.pid, number)
        GO_ON.touch()
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, err


@pytest.mark.slow
def test_interrupted_run_resumes_to_the_same_end(nas: Nas, whole: Path) -> None:
    code, err = interrupt(
        f"{LONG} --data.num_workers 2 --trainer.callbacks tests.runs.test_interrupt.Pause"
    )
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


class OwnData(LightningDataModule):
    """Data of a user, with loaders of PyTorch.

    Args:
        method: Method by which loading processes are started.
        persistent: Keep them from epoch to epoch.
    """

    data_spec: ClassVar = {"in_channels": 3, "num_classes": 4, "image_size": 8}

    def __init__(self, method: str, persistent: bool) -> None:
        super().__init__()
        self.method, self.persistent = method, persistent

    def train_dataloader(self) -> DataLoader[Any]:
        images = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return DataLoader(
            TensorDataset(images, torch.arange(32) % 4),
            batch_size=8,
            num_workers=1,
            multiprocessing_context=self.method,
            persistent_workers=self.persistent,
        )


OWN = """\
class_path: tests.runs.test_interrupt.OwnData
init_args: {{method: {method}, persistent: {persistent}}}
"""


@pytest.mark.long
@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize(
    ("method", "persistent"),
    [("fork", False), ("spawn", False), ("spawn", True), ("forkserver", True)],
)
def test_loading_processes_of_own_data_leave_signals_to_the_run(
    number: int, method: str, persistent: bool, work: Path
) -> None:
    config = yaml.safe_load(RETRAIN)
    config["data"] = yaml.safe_load(OWN.format(method=method, persistent=persistent))
    config["checkpoint"] = {}
    (work / "own.yaml").write_text(yaml.safe_dump(config))
    code, err = interrupt(
        "fit --config own.yaml --model.genotype genotype.json --trainer.max_epochs 3 " + PAUSE,
        number,
    )
    assert code == 128 + number, err
    assert "nas: stopped after epoch 2 of 3, batch 2: " in err
    assert torch.load("runs/retrain/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.ddp
@pytest.mark.long
def test_all_processes_of_a_run_stop_together(work: Path) -> None:
    two = "--trainer.devices 2 --trainer.strategy ddp --data.batch_size 4 --data.num_workers 1"
    code, err = interrupt(f"{LONG} {two} {PAUSE}", signal.SIGTERM)
    assert code == 143, err
    said = [line for line in err.splitlines() if line.startswith("nas: ")]
    assert said[0] == "nas: finishing this batch, then saving"
    assert said[1].startswith("nas: stopped after epoch 2 of 3, batch 2: ")
    assert len(said) == 2
    saved = torch.load("runs/search/checkpoints/last.ckpt", weights_only=True)
    assert saved["Synthetic"] == {"epoch": 1, "batch": 2}
