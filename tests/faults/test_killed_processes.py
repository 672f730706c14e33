"""Processes that are killed from outside: one message within seconds, and the run goes on."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from nas_lightning.runs.failures import Run, explain
from tests import processes
from tests.cli.conftest import Nas
from tests.faults.inject import different

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core

ROOT = str(Path(__file__).parents[2])
LINE = "fit --config search --data.train_size 64 --trainer.max_epochs 3"
TWO = "--trainer.devices 2 --trainer.strategy ddp --data.batch_size 4"


class Kill(Callback):
    """Kills a process of the run in the second batch of epoch 1.

    Args:
        what: `worker`, a loading process; else the number of the process that kills itself.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) != (1, 1):
            return
        if self.what == "worker":
            workers = [p for p in multiprocessing.active_children() if p.pid is not None]
            os.kill(workers[0].pid or 0, signal.SIGKILL)
        elif str(trainer.global_rank) == self.what:
            os.kill(os.getpid(), signal.SIGKILL)


def run(line: str, kill: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `nas` in a process of its own, and wait until all that write to its output are gone."""
    more = [] if kill is None else ["--trainer.callbacks+=tests.faults.test_killed_processes.Kill"]
    more += [] if kill is None else [f"--trainer.callbacks.what={kill}"]
    if TWO not in line:
        done = processes.run_nas(Path.cwd(), [*line.split(), *more])
        return subprocess.CompletedProcess(line, done.code or 0, done.out, done.err)
    return subprocess.run(  # Lightning starts the second one by the command line of the first
        [sys.executable, "-m", "nas_lightning", *line.split(), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of nas, and nothing of Python's own."""
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("nas: ")]
    return line


def end(name: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)
    return content


@pytest.mark.slow
def test_a_loading_process(nas: Nas) -> None:
    line = f"{LINE} --data.num_workers 2"
    done = run(line, kill="worker")
    assert done.returncode == 1, done.stderr
    said = message(done)
    # without its number if it dies while it hands over a batch
    assert re.match(r"nas: a loading process (\(pid \d+\) )?was killed; usually the machine", said)
    assert "lower data.num_workers (2)" in said
    assert said.endswith("the same command with --ckpt_path last resumes from its last checkpoint")
    assert end("search")["epoch"] < 2  # the rest of epoch 1 may have been loaded before
    resumed = nas(f"{line} --ckpt_path last")
    assert resumed.code == 0, resumed.err
    assert nas(f"{line} --run_dir runs/whole").code == 0
    one, other = end("search"), end("whole")
    assert one["epoch"] == other["epoch"] == 2
    assert different(one["state_dict"], other["state_dict"]) == []


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "resume"),
    [
        ("1", False),
        pytest.param("0", False, marks=pytest.mark.long),
        pytest.param("1", True, marks=pytest.mark.long),
    ],
)
def test_a_process_of_two(work: Path, rank: str, resume: bool) -> None:
    line = f"{LINE} {TWO}"
    done = run(line, kill=rank)
    assert done.returncode == (1 if rank == "1" else -signal.SIGKILL), done.stderr
    said = message(done)
    assert said.startswith("nas: another process of this run is gone")
    assert ("(process 1 was killed by SIGKILL)" in said) is (rank == "1")
    assert said.endswith("the same command with --ckpt_path last resumes from its last checkpoint")
    assert end("search")["epoch"] == 0
    if resume:
        resumed = run(f"{line} --ckpt_path last")
        assert resumed.returncode == 0, resumed.stderr
        assert end("search")["epoch"] == 2


HANGS = """
    import subprocess, sys, time
    from types import SimpleNamespace as Some
    from lightning.fabric.strategies.launchers import subprocess_script
    from nas_lightning.callbacks import LostProcess, lost_process

    lost_process.GRACE = float(sys.argv[1])
    child = subprocess.Popen(["sleep", "60"])
    subprocess_script._launch_process_observer([child])
    watch = LostProcess()
    trainer = Some(strategy=Some(launcher=Some(procs=[child])))
    watch.setup(trainer, None, "fit")
    child.kill()
    time.sleep(float(sys.argv[2]))
    watch.teardown(trainer, None, "fit")
    time.sleep(2)
    print("ended by itself")
"""


def hang(grace: float, seconds: float) -> subprocess.CompletedProcess[str]:
    """Lose a process, and hang for some seconds, with Lightning looking on."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HANGS), str(grace), str(seconds)],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_who_hangs_is_ended_and_says_why() -> None:
    done = hang(grace=0.5, seconds=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nas: process 1 was killed by SIGKILL; stopping this process too\n"


@pytest.mark.long
def test_who_ends_by_itself_is_left_to_it() -> None:
    # Lightning alone would kill it after five seconds
    done = hang(grace=60, seconds=7)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended by itself\n", "")


WORKER = "DataLoader worker (pid {}) "
GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WORKER.format(7) + "is killed by signal: Killed. ", "(pid 7) was killed; usually the"),
        (WORKER.format(7) + "is killed by signal: Bus error. It is possible", "/dev/shm is full"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "(pid 7, 8) was killed; usually"),
        (GLOO + "Read error [127.0.0.1]:4482: Connection reset by peer", "another process"),
        (GLOO + "Connection closed by peer [127.0.0.1]:4482", "another process"),
        ("NCCL error: remote process exited or there was a network error", "another process"),
    ],
)
def test_texts_of_torch(text: str, said: str) -> None:
    found = explain(RuntimeError(text), Run("test"))
    assert found is not None
    assert said in found
    assert "ckpt_path" not in found  # only a fit goes on


def test_other_connections_are_not_processes_of_the_run() -> None:
    assert explain(ConnectionResetError(104, "Connection reset by peer")) is None
