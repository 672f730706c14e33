"""Settings of Lightning inside a SLURM job, by which the processes of a run find each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from nas_lightning.errors import UsageError
from nas_lightning.slurm.allocation import Wanted, check_allocation, count_devices
from nas_lightning.slurm.job import active_job


def wanted(trainer: Namespace) -> Wanted:
    """Return the devices and nodes that a configuration asks for."""
    gpus = trainer.accelerator in ("gpu", "cuda")
    gpus = gpus or (trainer.accelerator == "auto" and torch.cuda.is_available())
    return Wanted(count_devices(trainer.devices), trainer.num_nodes, gpus)


def check_environment(trainer: Namespace, run_dir: Path) -> None:
    """Check a configuration against the SLURM job that it runs in, if any.

    Args:
        trainer: The trainer's part of the configuration.
        run_dir: The run directory.

    Raises:
        UsageError: The job did not start the processes that the trainer expects, or the run
            directory holds a checkpoint that Lightning would resume from by itself.
    """
    if (job := active_job()) is None:
        return
    check_allocation(job, wanted(trainer), torch.cuda.device_count())
    if found := next(run_dir.glob("hpc_ckpt_*.ckpt"), None):
        raise UsageError(
            f"{found} was not written by nas, and Lightning would resume from it: remove it, or "
            f"choose another directory by --run_dir"
        )


def trainer_arguments(trainer: Namespace) -> dict[str, Any]:
    """Return the arguments that the trainer needs inside a SLURM job, besides its configuration.

    By default Lightning requeues a SLURM job itself: it saves in the middle of a batch, and later
    resumes from files that another job wrote. We requeue the job ourselves instead.

    Args:
        trainer: The trainer's part of the configuration, with plugins as objects.

    Returns:
        Arguments of `Trainer`; empty outside SLURM.

    Raises:
        UsageError: The plugins of the configuration name a SLURM environment that requeues.
    """
    if (job := active_job()) is None:
        return {}
    plugins = trainer.plugins or []
    plugins = plugins if isinstance(plugins, list) else [plugins]
    chosen = next((item for item in plugins if isinstance(item, ClusterEnvironment)), None)
    if isinstance(chosen, SLURMEnvironment) and chosen.auto_requeue:
        raise UsageError(
            "trainer.plugins: give SLURMEnvironment auto_requeue: false, or leave it out; nas "
            "requeues its jobs itself"
        )
    if chosen is not None:
        return {}
    if not job.launched:
        return {"plugins": [*plugins, LightningEnvironment()]}
    each = job.tasks_per_node or job.tasks
    devices = {"devices": each} if count_devices(trainer.devices) is None else {}
    return {"plugins": [*plugins, SLURMEnvironment(auto_requeue=False)], **devices}
