"""The check that SLURM started the processes that the trainer expects.

A trainer that expects a process that was never started waits for ever. So every difference is
reported before anything is loaded, with both numbers and the option that changes one.
"""

from __future__ import annotations

from dataclasses import dataclass

from nas_lightning.errors import UsageError
from nas_lightning.slurm.job import SlurmJob


@dataclass(frozen=True)
class Wanted:
    """The devices and nodes that a configuration asks for.

    Args:
        devices: Processes on each node; `None` means one for each device.
        nodes: Number of nodes.
        gpus: True if each process needs a GPU.
    """

    devices: int | None = None
    nodes: int = 1
    gpus: bool = False


def count_devices(devices: object) -> int | None:
    """Return the number that `trainer.devices` means, or `None` if it leaves the number open.

    Args:
        devices: `4`, `"4"`, `"0,2"`, `"0,"`, `[0, 2]`; open: `"auto"`, `-1`, `"-1"`.
    """
    if isinstance(devices, list):
        return len(devices)
    text = str(devices).strip()
    if text in ("auto", "-1"):
        return None
    return len([part for part in text.split(",") if part]) if "," in text else int(text)


def check_allocation(job: SlurmJob, wanted: Wanted, visible_gpus: int) -> None:
    """Check that a job started the processes that the trainer expects.

    Args:
        job: The job.
        wanted: Devices and nodes of the configuration.
        visible_gpus: Number of GPUs that this process sees.

    Raises:
        UsageError: It did not; the message names both numbers and the option to change.
    """
    if not job.launched:
        _check_srun(job)
        return
    _check_tasks(job, wanted)
    if wanted.gpus:
        _check_gpus(job, visible_gpus)


def _check_srun(job: SlurmJob) -> None:
    if job.tasks > 1 and not job.in_step:
        raise UsageError(
            f"SLURM job {job.id} has {job.tasks} tasks, but srun did not start this process, so "
            f"the others would never start: put srun before it (srun nas fit …), or "
            f"srun --ntasks=1 for a single process"
        )


def _check_tasks(job: SlurmJob, wanted: Wanted) -> None:
    if job.tasks > 1 and job.tasks_per_node is None:
        each = job.tasks // job.nodes
        raise UsageError(
            f"SLURM job {job.id} has --ntasks={job.tasks} but no number of tasks for each node: "
            f"give --ntasks-per-node={each} instead of --ntasks"
        )
    if job.nodes != wanted.nodes:
        raise UsageError(
            f"SLURM started {_count(job.nodes, 'node')}, trainer.num_nodes is {wanted.nodes}: set "
            f"--trainer.num_nodes {job.nodes}, or SLURM's --nodes={wanted.nodes}"
        )
    each = job.tasks_per_node or job.tasks
    if wanted.devices is not None and each != wanted.devices:
        raise UsageError(
            f"SLURM started {_count(each, 'task')} on each node, trainer.devices is "
            f"{wanted.devices}: set --trainer.devices {each}, or SLURM's "
            f"--ntasks-per-node={wanted.devices}"
        )
    if job.tasks != each * job.nodes:
        raise UsageError(
            f"SLURM started {job.tasks} tasks on {_count(job.nodes, 'node')}, {each} on each would "
            f"be {each * job.nodes}: leave --ntasks out and give --ntasks-per-node={each}"
        )


def _check_gpus(job: SlurmJob, visible: int) -> None:
    each = job.tasks_per_node or job.tasks
    if visible < each:
        raise UsageError(
            f"SLURM started {_count(each, 'task')} on each node, and each sees "
            f"{_count(visible, 'GPU')}: give --gpus-per-node={each} (or --gres=gpu:{each}), and "
            f"neither --gpus-per-task nor --gpu-bind, so that each sees all; or run on "
            f"--trainer.accelerator cpu"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
