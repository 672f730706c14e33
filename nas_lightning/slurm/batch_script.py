"""The script of a job, ready for `sbatch`.

It depends on the request only: no file is read, and no cluster is asked.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass

from nas_lightning.errors import UsageError
from nas_lightning.text import SHOWN, is_control, one_line, path_problem, shown

TIME = re.compile(
    r"(?:(?P<d>\d{1,9})-)?(?P<a>\d{1,9})(?::(?P<b>\d{1,9}))?(?::(?P<c>\d{1,9}))?", re.ASCII
)
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
        UsageError: The time is malformed, or too short for the warning; or a text cannot stand in
            a script: it is empty, or holds a control character.
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
        """Check the texts and the time."""
        texts = {
            "--name": self.name,
            "--folder": self.logs,
            "--partition": self.partition,
            "--account": self.account,
            "--mem": self.memory,
            "--time": self.time,
        }
        for option, text in texts.items():
            if text is not None and (problem := path_problem(text)):
                raise UsageError(f"{option} for SLURM {problem}: choose another")
        if "\\" in self.logs:  # in a file name, SLURM takes it as a mark of its own
            raise UsageError(
                f"SLURM cannot write logs into the folder {shown(self.logs)}, for the backslash in "
                f"its name: choose another"
            )
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
            "output": f"{pattern(self.logs)}/%j.out",
        }
        lines: dict[str, str | None] = {k: str(v) for k, v in given.items() if v is not None}
        return {**lines, "open-mode": "append", "requeue": None}


def pattern(folder: str) -> str:
    """Return the name of a folder as SLURM reads it in the name of a log, where % is a mark."""
    return folder.replace("%", "%%")


def directive(name: str, value: str | None) -> str:
    """Return a line `#SBATCH --name=value`.

    A shell takes it as a comment. `sbatch` reads the value by rules of its own: blanks and # end
    it outside quotes, and a backslash quotes the next character, also between quotes.

    Args:
        name: The option.
        value: Its value; `None` means an option without one.

    Source: `_get_argument` in SLURM's src/sbatch/opt.c.
    """
    if value is None:
        return f"#SBATCH --{name}"
    if not re.fullmatch(r"[\w@%+=:,./-]+", value):
        value = '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
    return f"#SBATCH --{name}={value}"


def quote(word: str) -> str:
    """Return a word for a shell, on one line."""
    if not any(map(is_control, word)):
        return shlex.quote(word)
    escaped = "".join(
        f"\\{character}" if character in "\\'" else _escape(character) for character in word
    )
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    """Return a control character as bash reads it between `$'` and `'`; others as they are."""
    if not is_control(character):
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def seconds(time: str) -> int:
    """Return the seconds of a time limit in any of SLURM's forms.

    Args:
        time: `MINUTES`, `MINUTES:SECONDS`, `HOURS:MINUTES:SECONDS`, `DAYS-HOURS` and so on.

    Raises:
        UsageError: It has none of these forms.
    """
    if not (found := TIME.fullmatch(time)):
        raise UsageError(
            f"--time {one_line(time, SHOWN)}: give hours:minutes:seconds, or days-hours"
        )
    parts = [int(found[name]) for name in "abc" if found[name]]
    if found["d"] or len(parts) == 3:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return (int(found["d"] or 0) * 24 + hours) * 3600 + minutes * 60 + rest
    minutes, rest = (*parts, 0)[:2]
    return minutes * 60 + rest


def script(request: Request, command: list[str], path: str, origin: list[str]) -> str:
    """Return the script of a job.

    Args:
        request: The resources that it requests.
        command: The command that each process runs.
        path: Folder of the program, put first on the job's PATH.
        origin: The command that wrote the script, by words.
    """
    lines = [directive(name, value) for name, value in request.directives().items()]
    head = [
        "#!/bin/bash",
        f"# Made by: {' '.join(map(quote, origin))}",
        f"# To submit it: mkdir -p {quote(request.logs)} && sbatch FILE",
    ]
    body = [
        f'export PATH={quote(path)}:"$PATH"',
        f"srun {' '.join(SRUN)} \\",
        f"  {' '.join(map(quote, command))}",
    ]
    return "\n".join([*head, *lines, "", *body, ""])
