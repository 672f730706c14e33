"""The script of a job, ready for `sbatch`.

It depends on the request only: no file is read, and no cluster is asked.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from nas_lightning.errors import UsageError

TIME = re.compile(r"(?:(?P<d>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?")
SRUN = ("--kill-on-bad-exit=1", "--cpus-per-task=$SLURM_CPUS_PER_TASK")
"""Options of `srun`. If one process fails, all end, instead of waiting for it until the time limit.
The CPUs of a task are repeated because `srun` no longer takes them from `sbatch`."""


@dataclass(frozen=True)
class Request:
    """The resources that a job requests from SLURM.

    Args:
        name: Name of the job.
        logs: Folder of its logs.
        nodes: Number of nodes.
        gpus: GPUs on each node, with one process each; 0 means a job on CPUs.
        tasks: Processes on each node.
        cpus: CPU cores for each process.
        memory: Memory of a node in SLURM's form; 0 means all, `None` SLURM's default.
        time: Time limit in SLURM's form, such as `24:00:00` or `2-12`.
        lead: Seconds before the limit at which SLURM warns, so that the run can save.
        partition: Partition; `None` means SLURM's default.
        account: Account; `None` means SLURM's default.

    Raises:
        UsageError: The time is malformed, or too short for the warning.
    """

    name: str
    logs: str
    nodes: int = 1
    gpus: int = 8
    tasks: int = 8
    cpus: int = 8
    memory: str | None = "0"
    time: str = "24:00:00"
    lead: int = 300
    partition: str | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        """Check the time."""
        if seconds(self.time) < 2 * self.lead:
            raise UsageError(
                f"--time {self.time} is too short for a warning {self.lead} s before its end: "
                f"raise it, or lower --lead"
            )

    def directives(self) -> dict[str, str | None]:
        """Return the options for `#SBATCH --`; the value `None` means an option without a value."""
        given = {
            "job-name": self.name,
            "partition": self.partition,
            "account": self.account,
            "nodes": self.nodes,
            "ntasks-per-node": self.tasks,
            "gpus-per-node": self.gpus or None,
            "cpus-per-task": self.cpus,
            "mem": self.memory,
            "time": self.time,
            "signal": f"USR1@{self.lead}",
            "output": f"{self.logs}/%j.out",
        }
        lines: dict[str, str | None] = {k: str(v) for k, v in given.items() if v is not None}
        return {**lines, "open-mode": "append", "requeue": None}


def seconds(time: str) -> int:
    """Return the seconds of a time limit in any of SLURM's forms.

    Args:
        time: `MINUTES`, `MINUTES:SECONDS`, `HOURS:MINUTES:SECONDS`, `DAYS-HOURS` and so on.

    Raises:
        UsageError: It has none of these forms.
    """
    if not (found := TIME.fullmatch(time)):
        raise UsageError(f"--time {time}: give hours:minutes:seconds, or days-hours")
    parts = [int(found[name]) for name in "abc" if found[name]]
    if found["d"] or len(parts) == 3:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return (int(found["d"] or 0) * 24 + hours) * 3600 + minutes * 60 + rest
    minutes, rest = (*parts, 0)[:2]
    return minutes * 60 + rest


def script(request: Request, command: list[str], path: str, origin: str) -> str:
    """Return the script of a job.

    Args:
        request: The resources that it requests.
        command: The command that each process runs.
        path: Folder of the program, put first on the job's PATH.
        origin: The command that wrote the script.
    """
    lines = [
        f"#SBATCH --{name}" + ("" if value is None else f"={value}")
        for name, value in request.directives().items()
    ]
    head = [
        "#!/bin/bash",
        f"# Made by: {origin}",
        f"# To submit it: mkdir -p {shlex.quote(request.logs)} && sbatch FILE",
    ]
    body = [
        f'export PATH={shlex.quote(path)}:"$PATH"',
        f"srun {' '.join(SRUN)} \\",
        f"  {shlex.join(command)}",
    ]
    return "\n".join([*head, *lines, "", *body, ""])
