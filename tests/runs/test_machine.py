"""Facts that `nas doctor` prints about the machine, the job and the processes."""

import lightning
import pytest
import torch

from nas_lightning import __version__
from tests.cli.conftest import Nas
from tests.slurm import environments as recorded


def rows(out: str) -> dict[str, str]:
    """Return the facts of the machine and the processes, by name."""
    lines = "\n".join(out.split("\n\n")[:2]).splitlines()
    return {line[:24].strip(): line[25:] for line in lines}


def enter(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process part of a SLURM job."""
    for name in recorded.READ:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_the_machine_is_described(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    enter({}, monkeypatch)
    result = nas("doctor")
    assert result.code == 0
    found = rows(result.out)
    assert found["nas-lightning"] == __version__
    assert found["torch, lightning"] == f"{torch.__version__}, {lightning.__version__}"
    assert found["SLURM"] == "not in a job"
    assert found["requeued"] == "no: there is no job"
    assert ("none" in found["accelerators"]) is not torch.cuda.is_available()
    alone = (found["started by"], found["processes"], found["backend"])
    assert torch.cuda.is_available() or alone == ("nas itself", "1", "none")
    assert max(map(len, result.out.splitlines())) <= 100


def test_processes_of_a_search(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    enter({}, monkeypatch)
    two = "trainer: {devices: 2, accelerator: cpu}"
    found = rows(nas("doctor --search search", "--search", two).out)
    assert (found["processes"], found["backend"]) == ("2 (1 x 2)", "gloo")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("RANK", "4")
    found = rows(nas("doctor --search search", "--search", two).out)
    assert (found["started by"], found["processes"]) == ("torchrun", "6 (this is number 4)")


@pytest.mark.parametrize(
    ("name", "slurm", "starter", "requeued"),
    [
        ("SBATCH_SRUN", "job 1 (sbatch, in a step), 2 tasks on 2 nodes", "srun", "scontrol"),
        ("REQUEUED", "2 tasks on 2 nodes, requeued 1 time", "srun", "yes, by `scontrol requeue 1`"),
        ("ARRAY", "job 3_3 (sbatch, in a step), 1 task on 1 node", "srun", "requeue 3_3`"),
        ("SALLOC_SRUN", "job 6 (interactive, in a step)", "srun", "no: only jobs of sbatch"),
        ("SRUN_SHELL", "job 5 (interactive, in a step), 1 task", "nas itself", "no: only"),
        ("SALLOC_ONE", "job 8 (interactive, outside of srun)", "nas itself", "no: only"),
    ],
)
def test_slurm_jobs_are_described(
    nas: Nas,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    slurm: str,
    starter: str,
    requeued: str,
) -> None:
    environment = getattr(recorded, name)
    enter(environment, monkeypatch)
    nodes = f"trainer: {{num_nodes: {environment['SLURM_NNODES']}}}"
    result = nas("doctor --search search", "--search", nodes)
    assert result.code == 0, result.out
    found = rows(result.out)
    assert slurm in found["SLURM"]
    assert found["started by"] == starter
    assert requeued in found["requeued"]
    assert "wrong" not in found


def test_a_job_that_does_not_fit_is_reported(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(recorded.SBATCH_SRUN, monkeypatch)
    result = nas("doctor --search search")
    assert result.code == 1
    assert rows(result.out)["wrong"].startswith("SLURM started 2 nodes, trainer.num_nodes is 1")
    enter(recorded.SBATCH_SRUN, monkeypatch)
    assert "wrong" not in rows(nas("doctor").out)
    enter(recorded.SBATCH, monkeypatch)
    found = rows(nas("doctor").out)
    assert "put srun before" in found["requeued"]
    assert "put srun before it" in found["wrong"]
