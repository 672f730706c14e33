"""The SLURM job that a process belongs to, read from its environment, and its requeueing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from nas_lightning.errors import NASError

PATIENCE = 60
"""Seconds to wait for an answer of SLURM's controller."""

TORCHRUN = "TORCHELASTIC_RUN_ID"
"""A variable that `torchrun` sets."""

INTERACTIVE_NAMES = ("bash", "interactive")
"""Names that SLURM gives to interactive shells."""

INTERACTIVE_STEP = "4294967290"
"""Number of the step in which `salloc` runs its shell on a node, on clusters configured so."""


class RequeueError(NASError):
    """SLURM did not requeue a job."""

    everywhere = True


@dataclass(frozen=True)
class SlurmJob:
    """A SLURM job, as one of its processes sees it.

    Args:
        id: Number as `scontrol` takes it: "12", or "12_3" for a task of an array.
        name: Name of the job.
        restarts: Number of times that the job was requeued and started again.
        tasks: Processes that SLURM starts: of the step inside one, else those requested.
        nodes: Nodes of the step inside one, else of the job.
        tasks_per_node: `--ntasks-per-node` as requested, if it was.
        rank: Number of this process among the tasks.
        batch: True if a script runs the job (`sbatch`): only such a job can be requeued.
        in_step: True if `srun` started this process.
    """

    id: str
    name: str = ""
    restarts: int = 0
    tasks: int = 1
    nodes: int = 1
    tasks_per_node: int | None = None
    rank: int = 0
    batch: bool = False
    in_step: bool = False

    @property
    def launched(self) -> bool:
        """True if SLURM started one process for each device, so that they work together.

        It did not in a shell that `srun --pty bash` opened: that shell is one task, and a program
        called from it starts its own processes.
        """
        return self.in_step and (self.tasks > 1 or self.name not in INTERACTIVE_NAMES)


def slurm_job(environ: Mapping[str, str] = os.environ) -> SlurmJob | None:
    """Return the job that a process belongs to, or `None` outside SLURM.

    Args:
        environ: The environment of the process.
    """
    if not (number := environ.get("SLURM_JOB_ID")):
        return None
    if "SLURM_ARRAY_TASK_ID" in environ:
        number = f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    per_node = environ.get("SLURM_NTASKS_PER_NODE")
    return SlurmJob(
        id=number,
        name=environ.get("SLURM_JOB_NAME", ""),
        restarts=int(environ.get("SLURM_RESTART_COUNT", 0)),
        tasks=int(environ.get("SLURM_NTASKS", 1)),
        nodes=int(environ.get("SLURM_NNODES", 1)),
        tasks_per_node=None if per_node is None else int(per_node),
        rank=int(environ.get("SLURM_PROCID", 0)),
        batch=environ.get("ENVIRONMENT") == "BATCH",
        in_step=environ.get("SLURM_STEP_ID", INTERACTIVE_STEP) != INTERACTIVE_STEP,
    )


def active_job(environ: Mapping[str, str] = os.environ) -> SlurmJob | None:
    """Return the SLURM job whose tasks are the processes of a run.

    Returns:
        `None` outside SLURM and under `torchrun`.
    """
    return None if TORCHRUN in environ else slurm_job(environ)


def requeue(job: SlurmJob) -> None:
    """Requeue a job: SLURM ends its processes and starts its script again.

    Raises:
        RequeueError: SLURM's command is missing, does not answer, or refuses.
    """
    command = ["scontrol", "requeue", job.id]
    advice = f"; submit it again to resume, it was not requeued (`{' '.join(command)}`)"
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except OSError as error:
        raise RequeueError(f"cannot run scontrol: {error.strerror}{advice}") from error
    except subprocess.TimeoutExpired as error:
        raise RequeueError(f"SLURM did not answer for {PATIENCE} s{advice}") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise RequeueError(f"SLURM refused to requeue job {job.id}: {said}{advice}")
