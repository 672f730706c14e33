"""Submission of jobs to SLURM by submitit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_lightning.errors import NASError, UsageError
from nas_lightning.slurm.batch_script import SRUN, Request, pattern
from nas_lightning.text import shown

if TYPE_CHECKING:  # an extra that may be missing
    from submitit import AutoExecutor

MARKS = ("%j", "%t", "%A", "%a")
"""Texts that submitit replaces in names of folders."""
SUBMITITS_OWN = ("job-name", "nodes", "ntasks-per-node", "cpus-per-task", "output", "open-mode")
"""Directives that submitit writes itself, from its own arguments."""


class SubmitError(NASError):
    """SLURM refused a job."""

    @classmethod
    @contextmanager
    def of_slurm(cls) -> Iterator[None]:
        """Turn a refusal of SLURM into this error.

        Raises:
            SubmitError: SLURM refused.
        """
        from submitit.core.utils import FailedJobError

        try:
            yield
        except FailedJobError as error:
            raise cls(f"SLURM refused the job: {' '.join(str(error).split())}") from error


def configured(request: Request, **more: Any) -> AutoExecutor:
    """Return an executor whose jobs have the resources of a request.

    Args:
        request: The request of each job.
        more: Further parameters of submitit.

    Raises:
        UsageError: submitit or SLURM is not installed here, or cannot use the folder of the logs.
    """
    if mark := next((mark for mark in MARKS if mark in request.logs), None):
        raise UsageError(
            f"submitit cannot use the folder {shown(request.logs)}, for the {mark} in its name: "
            f"choose another"
        )
    executor = _open(request.logs)
    # directives that submitit has no argument for, in the form of the script of --dry-run
    additional = {
        name: True if value is None else value
        for name, value in request.directives().items()
        if name not in SUBMITITS_OWN
    }
    cpus = ("$SLURM_CPUS_PER_TASK", str(request.cpus))  # submitit quotes its arguments
    output = []
    if "%" in request.logs:  # submitit does not double it; its own option comes before
        job = "%A_%a" if "slurm_array_parallelism" in more else "%j"
        logs = f"{pattern(str(Path(request.logs).absolute()))}/{job}"
        additional["output"] = f"{logs}_0_log.out"
        output = ["--output", f"{logs}_%t_log.out"]
    executor.update_parameters(
        name=request.name,
        nodes=request.nodes,
        tasks_per_node=request.tasks,
        cpus_per_task=request.cpus,
        slurm_stderr_to_stdout=True,
        slurm_srun_args=[*(argument.replace(*cpus) for argument in SRUN), *output],
        slurm_additional_parameters=additional,
        **more,
    )
    return executor


def _open(folder: str) -> AutoExecutor:
    """Return the executor for a folder of scripts and logs, if jobs can be submitted from here."""
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise UsageError(
            "SLURM jobs need submitit: pip install 'nas-lightning[slurm]'; or, for a single run, "
            "pass the output of nas submit --dry-run to sbatch"
        ) from error
    if shutil.which("sbatch") is None:
        raise UsageError(
            "there is no sbatch here: run this where you submit jobs; nas submit --dry-run shows "
            "the script of a single run"
        )
    return AutoExecutor(folder=folder, cluster="slurm")
