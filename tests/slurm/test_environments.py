"""The environments that the unit tests use are those that SLURM makes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.slurm import environments as recorded
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job, assert_equal

pytestmark = pytest.mark.slurm
# those that differ from job to job
NUMBERS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_JOB_NAME")
TWO = ("--nodes=2", "--ntasks-per-node=1")


def show(folder: Path, name: str) -> list[str]:
    """A program that writes its environment to a file of a process's own."""
    code = (
        "import json, os, pathlib; "
        f"pathlib.Path({str(folder)!r}, {name!r} + os.environ.get('SLURM_PROCID', 'x'))"
        ".write_text(json.dumps(dict(os.environ)))"
    )
    return [sys.executable, "-c", code]


def seen(path: Path) -> dict[str, str]:
    """What a process saw of the variables that are read."""
    environment = json.loads(path.read_text())
    return {name: environment[name] for name in recorded.READ if name in environment}


def assert_as_recorded(found: dict[str, str], expected: dict[str, str]) -> None:
    """Check all variables, and that those whose values differ are there."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert name in NUMBERS or found[name] == value, name
    names = {job.get("SLURM_JOB_NAME") for job in (found, expected)}
    assert len(names) == 1 or not names & {"bash", "interactive"}


@pytest.mark.parametrize(
    ("name", "options", "srun", "rank"),
    [
        ("SBATCH_SRUN", TWO, True, "1"),
        ("SBATCH", TWO, False, "0"),
        ("SBATCH_NTASKS", ("--ntasks=2",), True, "0"),
        ("ARRAY", ("--array=3",), True, "0"),
    ],
)
def test_batch(
    cluster: Cluster, tmp_path: Path, name: str, options: tuple[str, ...], srun: bool, rank: str
) -> None:
    script = tmp_path / "job"
    words = [*(["srun"] if srun else []), *show(tmp_path, name)]
    script.write_text("#!/bin/bash\n" + " ".join(f'"{word}"' for word in words) + "\n")
    cluster.run("sbatch", "--wait", *options, str(script), cwd=tmp_path)
    assert_as_recorded(seen(tmp_path / f"{name}{rank}"), getattr(recorded, name))


@pytest.mark.parametrize(
    ("name", "command", "rank"),
    [
        ("SRUN", ["srun", *TWO], "1"),
        ("SALLOC_SRUN", ["salloc", *TWO, "srun"], "1"),
        ("SALLOC", ["salloc", *TWO], "x"),
        ("SALLOC_ONE", ["salloc"], "x"),
    ],
)
def test_interactive(
    cluster: Cluster, tmp_path: Path, name: str, command: list[str], rank: str
) -> None:
    cluster.run(*command, *show(tmp_path, name), cwd=tmp_path)
    assert_as_recorded(seen(tmp_path / f"{name}{rank}"), getattr(recorded, name))


def test_a_run_without_srun_is_refused_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """Lightning would wait for a second process for ever."""
    line = ("nas", "fit", "--config", "digits_idarts", "--run_dir", "runs/x")
    done = cluster.attempt("salloc", *TWO, *line, cwd=tmp_path)
    assert done.returncode == 2
    said = [text for text in done.stderr.splitlines() if text.startswith("nas: ")]
    assert len(said) == 1
    assert "has 2 tasks, but srun did not start this process" in said[0]
    assert not (tmp_path / "runs").exists()


def test_an_array_task_is_requeued_by_its_own_number(cluster: Cluster, tmp_path: Path) -> None:
    """By our function, in the job itself: it alone starts again, and its number is as recorded."""
    script = tmp_path / "job"
    code = (
        "from nas_lightning.slurm.job import *; import time; job = slurm_job(); "
        "print(job.id, job.restarts, flush=True); "
        "job.restarts or (requeue(job), time.sleep(120))"
    )
    script.write_text(f"#!/bin/bash\nsrun {sys.executable} -c '{code}'\n")
    number = cluster.run(
        *("sbatch", "--parsable", "--array=3-4", "--open-mode=append"),
        *(f"--output={tmp_path}/%a.log", str(script)),
        cwd=tmp_path,
    )
    for task in ("3", "4"):
        cluster.wait_for_return(f"{number}_{task}")
    for task in ("3", "4"):
        cluster.wait(f"{number}_{task}", "COMPLETED")
        lines = (tmp_path / f"{task}.log").read_text().splitlines()
        ours = [line for line in lines if line.startswith(number)]
        assert ours == [f"{number}_{task} 0", f"{number}_{task} 1"]


@pytest.mark.parametrize(
    ("name", "command", "devices", "nodes"),
    [
        # by its name Lightning would take it for a job in which nobody starts two processes
        ("salloc", ["salloc", *TWO, "srun"], 1, 2),
        ("srun", ["srun", *TWO], 1, 2),
        ("shell", ["srun", "--job-name=bash"], 2, 1),
    ],
)
def test_interactive_searches(
    cluster: Cluster, tmp_path: Path, name: str, command: list[str], devices: int, nodes: int
) -> None:
    job = Job(cluster, tmp_path, name)
    job.go_on()
    line = f"nas fit --config imagenet_pcdarts --config small.yaml --run_dir runs/{name}"
    size = f"--trainer.devices {devices} --trainer.num_nodes {nodes} --trainer.max_epochs 2"
    cluster.run(*command, *line.split(), *size.split(), cwd=tmp_path)
    assert_equal(job.state(0), job.state(1))
