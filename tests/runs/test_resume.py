"""Resuming: from the last checkpoint, from the previous one, or from the beginning."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from lightning import Callback, Trainer

from nas_lightning.architecture import Genotype
from nas_lightning.runs.directory import Start, find_start
from nas_lightning.runs.metrics import Row, read_metrics
from nas_lightning.slurm.job import SlurmJob
from tests.cli.conftest import LONG, Nas

SEND = "--trainer.callbacks tests.callbacks.test_graceful_stop.Send --trainer.callbacks.epoch"
LAST = Path("checkpoints/last.ckpt")
# fixtures copy a run from another folder
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")


class Vanish(Callback):
    """Remove the run directory in the second epoch."""

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            shutil.rmtree(trainer.default_root_dir, ignore_errors=True)


def end(run: str) -> tuple[dict[str, Any], list[Row]]:
    """Return the content of a run's last checkpoint, and its metrics."""
    checkpoint = torch.load(Path(run) / LAST, weights_only=True)
    return checkpoint, read_metrics(Path(run))


def same(one: object, other: object) -> bool:
    """Return True if two checkpoint contents are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        assert isinstance(other, list | tuple)
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_end(one: str, other: str) -> None:
    """Check that two runs end with equal checkpoints, metrics and genotypes."""
    (first, rows), (second, others) = end(one), end(other)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert same(first[part], second[part]), part
    assert rows == others
    assert len(rows) > 8
    genotypes = [Path(run) / "genotype.json" for run in (one, other)]
    if any(path.exists() for path in genotypes):  # a search
        found = [Genotype.load(path) for path in genotypes]
        assert found[0].cells == found[1].cells


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_a_stopped_run_writes_the_same_as_an_uninterrupted_one(
    batch: int, nas: Nas, whole: Path
) -> None:
    stopped = nas(f"{LONG} --run_dir cut {SEND} 1 --trainer.callbacks.batch {batch}")
    assert stopped.code == 130, stopped.err
    assert nas(f"{LONG} --run_dir cut --ckpt_path auto").code == 0
    assert_same_end("whole", "cut")
    record = json.loads(Path("cut/run.json").read_text())
    assert [start["outcome"] for start in record["starts"]] == ["stopped", "finished"]
    at = {"epoch": 1, "batch": 2} if batch == 1 else {"epoch": 2, "batch": 0}
    assert record["starts"][0]["to"] == record["starts"][1]["from"] == at


def test_auto_starts_in_an_empty_directory_and_resumes_otherwise(nas: Nas) -> None:
    line = "fit --config search --ckpt_path auto"
    assert "epoch 1/1" in nas(line).out
    again = nas(f"{line} --trainer.max_epochs 2")
    assert again.code == 0, again.err
    assert "epoch 1/2" not in again.out
    assert "epoch 2/2" in again.out
    assert "resumes with other settings:\n  trainer.max_epochs: 1 before, 2 now" in again.out


def test_auto_starts_again_in_the_directory_of_a_run_without_a_checkpoint(
    nas: Nas, searched: Path
) -> None:
    (searched / LAST).unlink()
    assert nas("fit --config search").code == 2
    assert "epoch 1/1" in nas("fit --config search --ckpt_path auto").out


def test_a_torn_checkpoint_is_skipped_with_a_warning(nas: Nas, whole: Path) -> None:
    line = f"{LONG} --run_dir whole"
    last = whole / LAST
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    again = nas(f"{line} --ckpt_path last")
    assert again.code == 0, again.err
    assert "nas: warning: whole/checkpoints/last.ckpt is truncated" in again.err
    assert "resuming from whole/checkpoints/previous.ckpt" in again.err
    assert "epoch 3/3" in again.out
    assert "epoch 2/3" not in again.out
    assert torch.load(last, weights_only=True)["epoch"] == 2
    assert torch.load(last.with_name("previous.ckpt"), weights_only=True)["epoch"] == 1
    assert last.with_suffix(".damaged").read_bytes() == content[: len(content) // 2]


def test_two_torn_checkpoints_are_reported(nas: Nas, whole: Path) -> None:
    for name in ("last.ckpt", "previous.ckpt"):
        assert (whole / "checkpoints" / name).exists()
        (whole / "checkpoints" / name).write_bytes(b"PK")
    for name in ("last", "auto"):
        result = nas(f"{LONG} --run_dir whole --ckpt_path {name}")
        assert result.code == 1
        assert result.err.startswith("nas: whole/checkpoints/last.ckpt is truncated")


def test_a_directory_in_use_is_refused_and_not_changed(nas: Nas, searched: Path) -> None:
    record = Path("runs/search/run.json")
    running = json.loads(record.read_text())
    running["starts"][-1] |= {"outcome": "running", "process": os.getpid()}
    record.write_text(json.dumps(running))
    before = record.stat()
    with FileLock("runs/search/.lock"):
        for option in ("", "--ckpt_path last", "--ckpt_path auto"):
            result = nas(f"fit --config search {option}")
            assert result.code == 2
            assert "runs/search is in use by a run (process" in result.err
    assert record.stat().st_mtime_ns == before.st_mtime_ns
    assert nas("fit --config search --ckpt_path last").code == 0  # free again


# it imports PyTorch once, and then the two start at the same instant
PAIR = """
import os, sys
import nas_lightning.runs.command
from nas_lightning.cli import main
children = []
for name in ("first", "second"):
    if (child := os.fork()) == 0:
        for descriptor, file in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{name}.{file}", os.O_CREAT | os.O_WRONLY), descriptor)
        code = main(["fit", "--config", "search"])
        sys.stdout.flush()
        os._exit(code)
    children.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.slow
def test_one_of_two_simultaneous_runs_is_refused(work: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PAIR],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    codes = [int(code) for code in done.stdout.split()]
    errors = [(work / f"{name}.err").read_text() for name in ("first", "second")]
    assert sorted(codes) == [0, 2], errors
    refused = errors[codes.index(2)]
    assert "is in use by a run" in refused or "already holds a run" in refused
    # the separate process prints one message, and nothing from Python or PyTorch
    assert refused.startswith("nas: runs/search ")
    assert refused.count("\n") == 1
    assert (work / f"{('first', 'second')[codes.index(2)]}.out").read_text() == ""


def test_a_requeued_job_resumes_only_in_its_own_directory(searched: Path) -> None:
    record = Path("runs/search/run.json")
    mine = json.loads(record.read_text())
    mine["starts"][-1]["job"] = "12"
    record.write_text(json.dumps(mine))
    run_dir = Path("runs/search")
    again = find_start(run_dir, None, SlurmJob("12", restarts=1))
    assert again == Start(run_dir / LAST, takes_over=True)
    first = Path("first.ckpt")
    shutil.copyfile(run_dir / LAST, first)
    assert find_start(run_dir, "first.ckpt", SlurmJob("12", restarts=1)) == again
    assert find_start(run_dir, "first.ckpt", SlurmJob("13", restarts=1)).checkpoint == first
    begins = Start(None, takes_over=False)
    assert find_start(run_dir, None, SlurmJob("12")) == begins  # its first start
    assert find_start(run_dir, None, SlurmJob("13", restarts=1)) == begins  # another job
    assert find_start(Path("runs/other"), None, SlurmJob("12", restarts=1)) == begins
    # requeued before its first checkpoint: it starts again
    for path in (run_dir / "checkpoints").iterdir():
        path.unlink()
    mine_again = Start(None, takes_over=True), Start(first, takes_over=True)
    assert find_start(run_dir, None, SlurmJob("12", restarts=1)) == mine_again[0]
    assert find_start(run_dir, "first.ckpt", SlurmJob("12", restarts=1)) == mine_again[1]


def test_a_removed_run_directory_is_created_again_and_the_run_resumes(
    nas: Nas, whole: Path
) -> None:
    lost = nas(f"{LONG} --run_dir lost --trainer.callbacks tests.runs.test_resume.Vanish")
    assert lost.code == 1
    assert lost.err.startswith("nas: the run directory lost vanished; stopped after epoch 2 of 3")
    assert "Traceback" not in lost.err
    assert nas(f"{LONG} --run_dir lost --ckpt_path last").code == 0
    (lost_end, _), (whole_end, _) = end("lost"), end("whole")
    assert same(lost_end["state_dict"], whole_end["state_dict"])


def test_a_checkpoint_of_another_number_of_processes_counts_the_epoch_again(nas: Nas) -> None:
    stopped = nas(f"{LONG} {SEND} 1 --trainer.callbacks.batch 1")
    assert stopped.code == 130, stopped.err
    last = Path("runs/search") / LAST
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["stage_state"]["streams"] *= 2
    torch.save(checkpoint, last)
    with pytest.warns(UserWarning, match="within an epoch by 2 processes, but this run has 1"):
        assert nas(f"{LONG} --ckpt_path last").code == 0
