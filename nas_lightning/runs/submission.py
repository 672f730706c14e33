"""A fit as a SLURM job: it is checked here, before it waits in a queue."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas_lightning.errors import UsageError
from nas_lightning.runs.command import run
from nas_lightning.runs.directory import AUTO, CONFIG, find_start, has_checkpoint
from nas_lightning.runs.exit import exit_code
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.runs.quiet import quiet
from nas_lightning.slurm.allocation import count_devices
from nas_lightning.slurm.batch_script import Request, script
from nas_lightning.slurm.submit import SubmitError, configured

SHARED_BY_ALL = "runs/default"
"""Run directory of a configuration that names none."""


class Parsed(PlanCLI):
    """Read the command line and the configurations of a run, and nothing else."""

    def instantiate_classes(self) -> None:
        """Do nothing: the data may be out of reach from here."""


@dataclass(frozen=True)
class Submission:
    """A run to be started by SLURM.

    Args:
        request: Resources of the job.
        arguments: The command line of `nas`, starting with the verb.
    """

    request: Request
    arguments: list[str]

    def script(self) -> str:
        """Return the job as a file for `sbatch`."""
        origin = ["nas", *sys.argv[1:]]
        folder = str(Path(sys.executable).parent)
        return script(self.request, ["nas", *self.arguments], folder, origin)


def prepare(options: dict[str, Any], configs: list[str], more: list[str]) -> Submission:
    """Check a run and return it as a job.

    Args:
        options: Fields of `Request`; `name` and `logs` of `None` mean those of the run directory.
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
                f"after --, nas submit sets it"
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
        advice = "resume it by -- --ckpt_path last" if has_checkpoint(run_dir) else "remove it"
        raise UsageError(
            f"{run_dir} already holds a run: {advice}, or choose another directory by "
            f"-- --run_dir DIR"
        )


def run_here(arguments: list[str]) -> None:
    """Run in a process of the job; submitit calls it.

    Raises:
        SystemExit: The run failed or was stopped; its message is in the log.
    """
    # submitit has set handlers for SIGUSR2 and SIGTERM. Those of the run replace them when it
    # starts; until then there is nothing to save, and submitit may requeue the job
    if code := exit_code(partial(_fit, arguments)):
        raise SystemExit(code)


def _fit(arguments: list[str]) -> None:
    run(arguments)


def submit(submission: Submission) -> str:
    """Submit a job to SLURM.

    Returns:
        Its number, the path of its log, and the commands that stop it.

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
