"""`nas submit`: a run as a SLURM job, checked here, before it waits in a queue."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_lightning.cli.main import main
from nas_lightning.errors import UsageError
from nas_lightning.runs.command import quiet
from nas_lightning.runs.directory import AUTO, CONFIG, find_start, has_checkpoint
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.slurm.allocation import count_devices
from nas_lightning.slurm.batch_script import Request, script
from nas_lightning.slurm.submit import SubmitError, configured

SHARED_BY_ALL = "runs/default"
"""The run directory of a configuration that names none."""


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
