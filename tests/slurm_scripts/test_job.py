"""The SLURM job of a process, from environments that SLURM made, and its requeueing."""

import os
from pathlib import Path

import pytest

from nas_lightning.slurm import job as cluster
from nas_lightning.slurm.job import RequeueError, SlurmJob, requeue, slurm_job
from tests.slurm import environments as recorded

JOBS = {
    "SBATCH_SRUN": SlurmJob("1", "job", 0, 2, 2, 1, rank=1, batch=True, in_step=True),
    "REQUEUED": SlurmJob("1", "job", 1, 2, 2, 1, rank=1, batch=True, in_step=True),
    "SBATCH": SlurmJob("1", "job", 0, 2, 2, 1, batch=True),
    "SBATCH_NTASKS": SlurmJob("2", "job", 0, 2, 1, None, batch=True, in_step=True),
    "ARRAY": SlurmJob("3_3", "job", 0, 1, 1, None, batch=True, in_step=True),
    "SRUN": SlurmJob("4", "PROGRAM", 0, 2, 2, 1, rank=1, in_step=True),
    "SRUN_SHELL": SlurmJob("5", "bash", 0, 1, 1, None, in_step=True),
    "SALLOC_SRUN": SlurmJob("6", "interactive", 0, 2, 2, 1, rank=1, in_step=True),
    "SALLOC": SlurmJob("7", "interactive", 0, 2, 2, 1),
    "SALLOC_ON_NODE": SlurmJob("7", "interactive", 0, 2, 2, 1),
    "SALLOC_ONE": SlurmJob("8", "interactive", 0, 1, 1, None),
}
LAUNCHED = {"SBATCH_SRUN", "REQUEUED", "SBATCH_NTASKS", "ARRAY", "SRUN", "SALLOC_SRUN"}


@pytest.mark.parametrize("name", JOBS)
def test_jobs_are_recognised(name: str) -> None:
    job = slurm_job(getattr(recorded, name))
    assert job == JOBS[name]
    assert job.launched is (name in LAUNCHED)


def test_there_is_no_job_outside_slurm() -> None:
    # variables that login nodes of clusters may have set
    assert slurm_job({"SLURM_CONF": "/etc/slurm/slurm.conf", "SLURM_CLUSTER_NAME": "c"}) is None


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for scontrol that writes down its arguments, to be completed by the test."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def test_requeue_names_the_task_of_an_array(scontrol: Path) -> None:
    requeue(JOBS["ARRAY"])
    assert (scontrol.parent / "said").read_text() == "requeue 3_3\n"


def test_a_refusal_is_one_line(scontrol: Path) -> None:
    with scontrol.open("a") as program:
        program.write("echo 'slurm_requeue error:\nRequested operation is disabled' >&2; exit 1\n")
    with pytest.raises(RequeueError) as caught:
        requeue(JOBS["SBATCH_SRUN"])
    text = str(caught.value)
    assert "job 1: slurm_requeue error: Requested operation is disabled; submit it again" in text
    assert "\n" not in text


def test_silence_ends(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0.1)
    with scontrol.open("a") as program:
        program.write("exec sleep 60\n")
    with pytest.raises(RequeueError, match="did not answer"):
        requeue(JOBS["SBATCH_SRUN"])


def test_scontrol_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequeueError, match="cannot run scontrol: No such file"):
        requeue(JOBS["SBATCH_SRUN"])
