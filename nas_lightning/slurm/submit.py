"""Hand jobs to SLURM, by submitit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nas_lightning.errors import NASError, UsageError
from nas_lightning.slurm.batch_script import SRUN, Request

if TYPE_CHECKING:  # an extra that may be missing
    from submitit import AutoExecutor

SUBMITITS_OWN = ("job-name", "nodes", "ntasks-per-node", "cpus-per-task", "output", "open-mode")
"""Directives that submitit writes itself, from arguments of its own."""


class SubmitError(NASError):
    """SLURM did not take a job."""

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
    """What hands jobs to SLURM that ask for what a request says.

    Args:
        request: The request, for each job.
        more: Further parameters of submitit.

    Raises:
        UsageError: submitit or SLURM is not installed here.
    """
    executor = _open(request.logs)
    # what submitit has no name for, or another form, as it stands in the script of --dry-run
    additional = {
        name: True if value is None else value
        for name, value in request.directives().items()
        if name not in SUBMITITS_OWN
    }
    cpus = ("$SLURM_CPUS_PER_TASK", str(request.cpus))  # submitit quotes what it passes on
    executor.update_parameters(
        name=request.name,
        nodes=request.nodes,
        tasks_per_node=request.tasks,
        cpus_per_task=request.cpus,
        slurm_stderr_to_stdout=True,
        slurm_srun_args=[argument.replace(*cpus) for argument in SRUN],
        slurm_additional_parameters=additional,
        **more,
    )
    return executor


def _open(folder: str) -> AutoExecutor:
    """The executor of a folder for scripts and logs, if jobs can be handed over from here."""
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise UsageError(
            "SLURM jobs need submitit: pip install 'nas-lightning[slurm]'; or, for a single run, "
            "give what nas submit --dry-run prints to sbatch"
        ) from error
    if shutil.which("sbatch") is None:
        raise UsageError(
            "there is no sbatch here: run this where you submit jobs; nas submit --dry-run shows "
            "the script of a single run"
        )
    return AutoExecutor(folder=folder, cluster="slurm")
