"""`nas submit`: a run as a SLURM job, checked here, before it waits in a queue."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_lightning.cli.allocation import count_devices
from nas_lightning.cli.batch_script import SRUN, Request, script
from nas_lightning.cli.lightning import quiet
from nas_lightning.cli.main import main
from nas_lightning.cli.plan import PlanCLI
from nas_lightning.cli.run_directory import AUTO, CONFIG, find_start, has_checkpoint
from nas_lightning.errors import NASError, UsageError

if TYPE_CHECKING:  # an extra that may be missing
    from submitit import AutoExecutor

SHARED_BY_ALL = "runs/default"
"""The run directory of a configuration that names none."""
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


class Parsed(PlanCLI):
    """A run of which only the command line and the configurations are read."""

    def instantiate_classes(self) -> None:
        """Build nothing: the data may be out of reach from here."""


@dataclass(frozen=True)
class Submission:
    """A run that SLURM is to start.

    Args:
        request: What it asks for.
        arguments: The command line of `nas`, its verb first.
    """

    request: Request
    arguments: list[str]

    def script(self) -> str:
        """The job as a file for `sbatch`."""
        origin = shlex.join(["nas", *sys.argv[1:]])
        folder = str(Path(sys.executable).parent)
        return script(self.request, ["nas", *self.arguments], folder, origin)


def prepare(options: dict[str, Any], configs: list[str], more: list[str]) -> Submission:
    """Check a run and make it a job.

    Args:
        options: Fields of `Request`; none for `name` and `logs` means the run directory's.
        configs: Configurations, later ones win.
        more: Further options of `nas fit`.

    Raises:
        UsageError: The configuration is wrong, or the run directory is not free.
    """
    quiet()
    arguments = ["fit", *_each("--config", configs)]
    arguments += ["--trainer.devices", str(options["tasks"])]
    arguments += ["--trainer.num_nodes", str(options["nodes"])]
    arguments += [] if options["gpus"] else ["--trainer.accelerator", "cpu"]
    config = _parse([*arguments, *more])
    for name, number in (("devices", options["tasks"]), ("num_nodes", options["nodes"])):
        if count_devices(config.trainer[name]) != number:
            raise UsageError(
                f"trainer.{name} is {config.trainer[name]}, the job has {number}: leave it out "
                f"behind --, nas submit sets it"
            )
    run_dir = Path(config.run_dir)
    _check_run_dir(run_dir, config.ckpt_path)
    own = {"name": run_dir.name, "logs": str(run_dir / "logs")}
    request = Request(**{**options, **{key: options[key] or own[key] for key in own}})
    start = [] if config.ckpt_path else ["--ckpt_path", AUTO]
    return Submission(request, [*arguments, *start, *more])


def _each(option: str, values: list[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _parse(arguments: list[str]) -> Any:
    cli = Parsed(arguments)
    return cli.config[cli.config.subcommand]


def _check_run_dir(run_dir: Path, checkpoint: str | None) -> None:
    if str(run_dir) == SHARED_BY_ALL:
        raise UsageError("name the run directory of this run: -- --run_dir runs/NAME")
    find_start(run_dir, checkpoint, None)
    if checkpoint is None and (run_dir / CONFIG).exists():
        go_on = "go on with it by -- --ckpt_path last" if has_checkpoint(run_dir) else "remove it"
        raise UsageError(
            f"{run_dir} already holds a run: {go_on}, or choose another directory by "
            f"-- --run_dir DIR"
        )


def run_here(arguments: list[str]) -> None:
    """What submitit calls in each process of the job.

    Raises:
        SystemExit: The run failed or was stopped; its message is in the log.
    """
    # submitit has set handlers for SIGUSR2 and SIGTERM. Those of the run replace them when it
    # starts; until then there is nothing to save, and submitit may requeue the job
    if code := main(arguments):
        raise SystemExit(code)


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


def submit(submission: Submission) -> str:
    """Hand a job to SLURM.

    Returns:
        Its number, where its log is, and how to stop it.

    Raises:
        UsageError: submitit or SLURM is not installed here.
        SubmitError: SLURM refused.
    """
    executor = configured(submission.request)
    with SubmitError.of_slurm():
        job = executor.submit(run_here, submission.arguments)
    return (
        f"{'job':<24} {job.job_id}\n"
        f"{'log':<24} {job.paths.stdout}\n"
        f"{'look':<24} squeue --job {job.job_id}\n"
        f"{'stop, and save':<24} scancel --signal=TERM {job.job_id}\n"
        f"{'stop, save and requeue':<24} scancel --signal=USR1 {job.job_id}"
    )
