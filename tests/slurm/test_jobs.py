"""Searches on two nodes of a real cluster: started, put back, and none the worse for it."""

from pathlib import Path

import pytest
import torch

from tests.slurm.cluster import Cluster, wait_for
from tests.slurm.jobs import Job, assert_equal

pytestmark = pytest.mark.slurm
TWO_NODES = ("--nodes=2", "--ntasks-per-node=1", "--time=10")
ONE_TASK = ("--ntasks-per-node=1", "--time=10")
STOPPED = "stopped after epoch 2 of 3, batch 2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of all jobs."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def whole(cluster: Cluster, folder: Path) -> Job:
    """The shipped script on two nodes, not interrupted."""
    job = Job(cluster, folder, "whole")
    job.go_on()
    job.sbatch("many_nodes.sbatch", *TWO_NODES)
    job.end()
    return job


@pytest.fixture(scope="module", autouse=True)
def limited(cluster: Cluster, folder: Path) -> Job:
    """A job that waits for its time limit; SLURM counts it while other tests run."""
    job = Job(cluster, folder, "limited")
    # SLURM looks every 30 s: the signal comes 60 to 90 s after the start
    return job.sbatch(
        "many_nodes.sbatch", *TWO_NODES[:2], "--time=3", "--signal=USR1@90", "--job-name=limited"
    )


def assert_same_end(job: Job, whole: Job) -> None:
    """Check that a job found what the uninterrupted one found, with the same weights, bit for bit.

    Both ranks of it.
    """
    assert job.cells() == whole.cells()
    for rank in range(2):
        assert_equal(job.state(rank), whole.state(rank))


def test_ranks_of_two_nodes_agree(whole: Job) -> None:
    assert_equal(whole.state(0), whole.state(1))
    assert whole.cluster.field(whole.number, "NumNodes") == "2"
    assert whole.cluster.field(whole.number, "Restarts") == "0"
    state = torch.load(whole.run_dir / "0.pt")
    # epochs, batches a rank, and two optimizers but in the warm-up's epoch
    assert state["step"] == 3 * 4 + 2 * 4
    assert list(whole.run_dir.rglob("hpc_ckpt*")) == []
    # the log is for reading: no warning for each number of each process
    assert "sync_dist" not in whole.log()


def test_requeued_by_an_operator(cluster: Cluster, folder: Path, whole: Job) -> None:
    job = Job(cluster, folder, "operator").sbatch("many_nodes.sbatch", *TWO_NODES)
    job.wait_in_the_middle(2)
    cluster.run("scontrol", "requeue", job.number)
    wait_for(lambda: "finishing this batch" in job.log(), "the signal")
    job.come_back()
    assert STOPPED in job.log()
    assert_same_end(job, whole)


def test_requeued_on_a_signal(cluster: Cluster, folder: Path, whole: Job) -> None:
    job = Job(cluster, folder, "signal").sbatch("many_nodes.sbatch", *TWO_NODES)
    job.wait_in_the_middle(2)
    cluster.run("scancel", "--signal=USR1", job.number)
    wait_for(lambda: "finishing this batch" in job.log(), "the signal")
    job.come_back()
    assert STOPPED in job.log()
    assert_same_end(job, whole)


@pytest.mark.parametrize("ranks", [1, 2])
def test_requeued_before_there_is_anything_to_save(
    ranks: int, cluster: Cluster, folder: Path, whole: Job
) -> None:
    job = Job(cluster, folder, f"early-{ranks}")
    job.hold_the_start()
    script, options = (
        ("many_nodes.sbatch", TWO_NODES) if ranks == 2 else ("one_node.sbatch", ONE_TASK)
    )
    job.sbatch(script, *options)
    job.wait_at_the_start(ranks)
    cluster.run("scancel", "--signal=USR1", job.number)
    wait_for(lambda: f"requeueing job {job.number}" in job.log(), "the signal")
    job.go_on()
    job.come_back()
    if ranks == 1:
        assert "SIGUSR1 stopped the run before there was anything to save" in job.log()
    else:
        assert "stopped before the first batch, requeueing" in job.log()
        assert_same_end(job, whole)
    assert "Traceback" not in job.log()


def test_stopped_by_its_user_and_submitted_again(
    cluster: Cluster, folder: Path, whole: Job
) -> None:
    job = Job(cluster, folder, "stopped").sbatch("many_nodes.sbatch", *TWO_NODES)
    job.wait_in_the_middle(2)
    cluster.run("scancel", "--signal=TERM", job.number)
    cluster.wait(job.number, "FAILED")  # exit code 143
    assert cluster.field(job.number, "Restarts") == "0"
    assert f"{STOPPED}: " in job.log()
    assert "Traceback" not in job.log()
    again = Job(cluster, folder, "stopped").sbatch("many_nodes.sbatch", *TWO_NODES)
    again.end()
    assert_same_end(again, whole)


def test_jobs_side_by_side_leave_each_other_alone(cluster: Cluster, folder: Path) -> None:
    other, undisturbed, requeued = (
        Job(cluster, folder, name) for name in ("other", "undisturbed", "requeued")
    )
    undisturbed.go_on()
    for job, seed in ((other, "5"), (undisturbed, "6"), (requeued, "6")):
        job.sbatch("one_node.sbatch", *ONE_TASK, more=("--seed_everything", seed))
    other.wait_in_the_middle(1)
    before = other.files()
    requeued.wait_in_the_middle(1)
    cluster.run("scancel", "--signal=USR1", requeued.number)
    requeued.come_back()
    undisturbed.end()
    assert other.files() == before
    after = requeued.files()
    other.go_on()
    other.end()
    assert requeued.files() == after
    assert_equal(requeued.state(), undisturbed.state())
    assert requeued.cells() == undisturbed.cells()
    pairs = [(value, other.state()[name]) for name, value in requeued.state().items()]
    assert any(not torch.equal(*pair) for pair in pairs)
    # beside the runs nothing but logs and the configuration that the test wrote
    here = {path.name for path in folder.iterdir() if path.suffix != ".log"}
    assert here == {"runs", "small.yaml"}


def test_submitted_and_requeued(cluster: Cluster, folder: Path, whole: Job) -> None:
    job = Job(cluster, folder, "submitted")
    shown = cluster.run(
        *("nas", "submit", "--config", "imagenet_pcdarts", "--config", "small.yaml"),
        *("--nodes", "2", "--gpus", "0", "--cpus-per-task", "1", "--time", "10"),
        *("--", "--run_dir", "runs/submitted"),
        cwd=folder,
    )
    rows = dict(line.split(maxsplit=1) for line in shown.splitlines())
    job.number = rows["job"]
    job.wait_in_the_middle(2)
    cluster.run("scancel", "--signal=USR1", job.number)
    log = Path(rows["log"])
    wait_for(lambda: "finishing this batch" in log.read_text(), "the signal")
    job.come_back()
    assert STOPPED in log.read_text()
    assert log.parent == job.run_dir / "logs"
    assert_same_end(job, whole)


def test_requeued_at_the_time_limit(limited: Job, whole: Job) -> None:
    limited.end()  # it comes back by itself
    # on a slow machine the second start does not get to the end either
    assert int(limited.cluster.field(limited.number, "Restarts")) >= 1
    assert f"requeueing job {limited.number}" in limited.log()
    assert_same_end(limited, whole)
