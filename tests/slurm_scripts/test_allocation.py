"""A trainer that does not fit its SLURM job is reported in one line, before anything runs."""

from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from nas_lightning.errors import UsageError
from nas_lightning.runs.command import NASCLI
from nas_lightning.slurm.allocation import Wanted, check_allocation, count_devices
from nas_lightning.slurm.job import slurm_job
from tests.cli.conftest import Nas
from tests.slurm import environments as recorded


@pytest.mark.parametrize(
    ("devices", "number"),
    [(4, 4), ("4", 4), ("0,2", 2), ("0,", 1), ([0, 3], 2), ("auto", None), (-1, None)],
)
def test_devices_are_counted_as_lightning_does(devices: object, number: int | None) -> None:
    assert count_devices(devices) == number


FITTING = [
    ("SBATCH_SRUN", Wanted(1, 2)),
    ("SBATCH_SRUN", Wanted(None, 2)),
    ("SBATCH_SRUN", Wanted(1, 2, gpus=True)),
    ("REQUEUED", Wanted(1, 2)),
    ("ARRAY", Wanted(1, 1)),
    ("SRUN", Wanted(1, 2)),
    ("SALLOC_SRUN", Wanted(1, 2)),
    ("SRUN_SHELL", Wanted(4, 1)),  # starts its processes itself
    ("SALLOC_ONE", Wanted(4, 1)),
]
WRONG = [
    ("SBATCH", Wanted(1, 2), ["job 1 has 2 tasks", "put srun before it"]),
    ("SALLOC", Wanted(1, 2), ["job 7 has 2 tasks", "srun --ntasks=1"]),
    ("SALLOC_ON_NODE", Wanted(1, 2), ["job 7 has 2 tasks", "put srun before it"]),
    ("SBATCH_NTASKS", Wanted(2, 1), ["--ntasks=2", "--ntasks-per-node=2 instead of --ntasks"]),
    ("SBATCH_SRUN", Wanted(1, 1), ["started 2 nodes", "is 1:", "num_nodes 2", "--nodes=1"]),
    ("SBATCH_SRUN", Wanted(4, 2), ["1 task on each", "is 4:", "devices 1", "-per-node=4"]),
    ("ARRAY", Wanted(8, 1), ["started 1 task", "trainer.devices is 8", "--ntasks-per-node=8"]),
]


@pytest.mark.parametrize(("name", "want"), FITTING)
def test_what_fits_passes(name: str, want: Wanted) -> None:
    job = slurm_job(getattr(recorded, name))
    assert job is not None
    check_allocation(job, want, visible_gpus=1)


@pytest.mark.parametrize(("name", "want", "fragments"), WRONG)
def test_what_does_not_fit_names_both_numbers(
    name: str, want: Wanted, fragments: list[str]
) -> None:
    job = slurm_job(getattr(recorded, name))
    assert job is not None
    with pytest.raises(UsageError) as caught:
        check_allocation(job, want, visible_gpus=8)
    text = str(caught.value)
    assert all(fragment in text for fragment in fragments), text
    assert "\n" not in text


def test_fewer_gpus_than_tasks() -> None:
    job = slurm_job({**recorded.ARRAY, "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"})
    assert job is not None
    check_allocation(job, Wanted(4, 1, gpus=True), visible_gpus=4)
    check_allocation(job, Wanted(4, 1), visible_gpus=0)
    with pytest.raises(UsageError, match="each sees 1 GPU: give --gpus-per-node=4"):
        check_allocation(job, Wanted(4, 1, gpus=True), visible_gpus=1)


def test_uneven_tasks() -> None:
    job = slurm_job({**recorded.SRUN, "SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "2"})
    assert job is not None
    with pytest.raises(UsageError, match="started 3 tasks on 2 nodes, 2 on each would be 4"):
        check_allocation(job, Wanted(2, 2), visible_gpus=0)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A job of one task, as the environment of this process."""
    for name in recorded.READ:
        monkeypatch.delenv(name, raising=False)
    environment = {**recorded.ARRAY, "SLURM_NTASKS_PER_NODE": "1"}
    extra = {"SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1"}
    for name, value in {**environment, **extra}.items():
        monkeypatch.setenv(name, value)
    return environment


def test_a_run_reports_it_before_anything_else(
    nas: Nas, work: Path, inside: dict[str, str]
) -> None:
    result = nas("fit --config search --trainer.devices 2")
    assert result.code == 2
    assert result.err.startswith("nas: SLURM started 1 task on each node, trainer.devices is 2")
    assert len(result.err.splitlines()) == 1
    assert not (work / "runs").exists()


class Built(NASCLI):
    """A run whose trainer is built and not used."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def environment_of(*arguments: str) -> object:
    """What the trainer of a run finds its processes by."""
    cli = Built(["fit", "--config", "search.yaml", *arguments])
    connector = cli.trainer._accelerator_connector
    return connector.cluster_environment


def test_lightning_does_not_requeue(work: Path, inside: dict[str, str]) -> None:
    chosen = environment_of()
    assert isinstance(chosen, SLURMEnvironment)
    assert chosen.auto_requeue is False


def test_plugins_of_the_user_stay(work: Path, inside: dict[str, str]) -> None:
    given = "{class_path: lightning.pytorch.plugins.io.AsyncCheckpointIO}"
    cli = Built(["fit", "--config", "search.yaml", "--trainer.plugins", f"[{given}]"])
    connector = cli.trainer._accelerator_connector
    assert type(cli.trainer.strategy.checkpoint_io).__name__ == "AsyncCheckpointIO"
    assert isinstance(connector.cluster_environment, SLURMEnvironment)
    own = "[lightning.fabric.plugins.environments.lightning.LightningEnvironment]"
    chosen = environment_of("--trainer.plugins", own, "--run_dir", "runs/own")
    assert isinstance(chosen, LightningEnvironment)


def test_lightning_is_not_told_to_requeue(nas: Nas, inside: dict[str, str]) -> None:
    path = "lightning.fabric.plugins.environments.slurm.SLURMEnvironment"
    result = nas("fit --config search", f"--trainer.plugins=[{path}]")
    assert result.code == 2
    assert "auto_requeue: false" in result.err


def test_a_shell_of_a_job_starts_its_processes_itself(
    work: Path, inside: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert isinstance(environment_of(), LightningEnvironment)


def test_checkpoints_of_lightnings_own_are_not_taken_up(
    nas: Nas, work: Path, inside: dict[str, str]
) -> None:
    (work / "runs/search").mkdir(parents=True)
    (work / "runs/search/hpc_ckpt_1.ckpt").touch()
    result = nas("fit --config search")
    assert result.code == 2
    assert "hpc_ckpt_1.ckpt was not written by nas" in result.err


def test_a_run_in_a_job_writes_none(nas: Nas, work: Path, inside: dict[str, str]) -> None:
    result = nas("fit --config search")
    assert result.code == 0, result.err
    assert list(work.rglob("hpc_ckpt*")) == []
