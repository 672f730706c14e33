"""Facts about this machine: versions, hardware, and the processes that a run would have."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping

import lightning
import torch

from nas_lightning import __version__
from nas_lightning.slurm.allocation import Wanted
from nas_lightning.slurm.job import TORCHRUN, SlurmJob, slurm_job

Rows = list[tuple[str, str]]
"""Pairs of a name and a text."""

SIGNALS = (
    ("Ctrl-C, SIGTERM", "finish the batch, save, stop"),
    ("SIGUSR1, SIGUSR2", "finish the batch, save, requeue"),
)


def machine() -> Rows:
    """Describe versions, CPUs, memory and accelerators."""
    return [
        ("nas-lightning", __version__),
        ("python", platform.python_version()),
        ("torch, lightning", f"{torch.__version__}, {lightning.__version__}"),
        ("host", f"{platform.node()}, {platform.system()} {platform.machine()}"),
        ("CPU cores", _cores()),
        ("memory", _memory()),
        ("accelerators", _accelerators()),
    ]


def processes(want: Wanted, visible_gpus: int, environ: Mapping[str, str] = os.environ) -> Rows:
    """Describe the processes of a run: their number, their launcher, their answer to signals.

    Args:
        want: Devices and nodes of the configuration.
        visible_gpus: Number of GPUs that this process sees.
        environ: The environment of this process.
    """
    job = slurm_job(environ)
    per_node = want.devices or (visible_gpus if want.gpus and visible_gpus else 1)
    number, each = want.nodes * per_node, f"{want.nodes} x {per_node}"
    if TORCHRUN in environ:
        number = int(environ["WORLD_SIZE"])
        starter, each = "torchrun", f"this is number {environ['RANK']}"
    elif job is not None and job.launched:
        number = job.tasks
        starter, each = "srun", f"{_plural(job.nodes, 'node')}, this is number {job.rank}"
    else:
        starter = "nas itself" if want.nodes == 1 else "nas itself on this node only: use srun"
    backend = "none" if number == 1 else "nccl" if want.gpus else "gloo"
    return [
        ("SLURM", "not in a job" if job is None else _describe(job)),
        ("started by", starter),
        ("processes", str(number) if number == 1 else f"{number} ({each})"),
        ("backend", backend),
        ("requeued", _requeued(job)),
        *SIGNALS,
    ]


def table(rows: Rows) -> str:
    """Return the rows as text, with the names in one column."""
    return "\n".join(f"{name:<24} {text}" for name, text in rows)


def _describe(job: SlurmJob) -> str:
    kind = "sbatch" if job.batch else "interactive"
    step = "in a step" if job.in_step else "outside of srun"
    times = f", requeued {_plural(job.restarts, 'time')}" if job.restarts else ""
    size = f"{_plural(job.tasks, 'task')} on {_plural(job.nodes, 'node')}"
    return f"job {job.id} ({kind}, {step}), {size}{times}"


def _requeued(job: SlurmJob | None) -> str:
    if job is None:
        return "no: there is no job"
    if not job.batch:
        return "no: only jobs of sbatch can be; send SIGTERM before its end, which saves"
    if not job.in_step:
        return "no: SLURM's warning reaches only processes that srun started; put srun before nas"
    return f"yes, by `scontrol requeue {job.id}`, on SIGUSR1 or SIGUSR2"


def _cores() -> str:
    there = os.cpu_count() or 1
    # SLURM or taskset may leave fewer to this process; only Linux can tell
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    return f"{there}" if usable == there else f"{usable} of {there}"


def _memory() -> str:
    if not hasattr(os, "sysconf"):
        return "not known"
    return _gigabytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _accelerators() -> str:
    if not torch.cuda.is_available():
        return "Apple GPU" if torch.backends.mps.is_available() else "none: runs on the CPU"
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    kinds = Counter(f"{gpu.name}, {_gigabytes(gpu.total_memory)}" for gpu in found)
    return "; ".join(f"{number} x {kind}" for kind, number in kinds.items())


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _plural(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
