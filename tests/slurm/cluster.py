"""A SLURM cluster of two nodes on this machine: real daemons, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "salloc", "scontrol", "scancel")
ROOT = Path(__file__).parents[2]
# addresses as names: no name service needs to know them
NODES = ("127.0.0.1", "127.0.0.2")
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
KillWait=20
MinJobAge=7200
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can start SLURM's daemons"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def wait_for(
    done: Callable[[], bool],
    what: str,
    limit: float = 300,
    evidence: Callable[[], str] = lambda: "",
) -> None:
    """Wait until something is so.

    Args:
        done: It is so.
        what: Its words.
        limit: Longest time, in seconds.
        evidence: More words for the error.

    Raises:
        AssertionError: It has not come about in time.
    """
    deadline = time.monotonic() + limit
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}\n{evidence()}"
        time.sleep(0.2)


class Cluster:
    """Commands of SLURM, for the cluster in a folder.

    Args:
        folder: Where its daemons keep what they write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        self.environ = {
            **kept,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONFAULTHANDLER": "1",  # see `evidence`
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[Cluster]:
        """Start the daemons; end jobs and daemons afterwards, whatever happens."""
        with contextlib.ExitStack() as stack:
            self._write()
            munge = [
                f"--{name}={self.folder / file}"
                for name, file in (
                    ("socket", "munge.sock"),
                    ("key-file", "munge.key"),
                    ("pid-file", "munge.pid"),
                    ("log-file", "munge.log"),
                    ("seed-file", "munge.seed"),
                )
            ]
            stack.enter_context(self._daemon("munged", "--foreground", "--force", *munge))
            wait_for((self.folder / "munge.sock").exists, "munged", 20)
            stack.enter_context(self._daemon("slurmctld", "-D"))
            for node in NODES:
                stack.enter_context(self._daemon("slurmd", "-D", "-N", node))
            wait_for(self._ready, "the nodes", 60)
            try:
                yield self
            finally:
                self._end_jobs()

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """What a command prints.

        Raises:
            AssertionError: It failed; shows why.
        """
        done = self.attempt(*command, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def attempt(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        return subprocess.run(
            command, cwd=cwd, env=self.environ, capture_output=True, text=True, timeout=240
        )

    def field(self, job: str, name: str) -> str:
        """A field of `scontrol show job`, such as JobState or Restarts."""
        found = re.search(rf"\b{name}=(\S+)", self.run("scontrol", "-o", "show", "job", job))
        assert found
        return found[1]

    def wait(self, job: str, *states: str) -> None:
        """Wait for a job to be in one of the states.

        Raises:
            AssertionError: It ended in another.
        """

        def there() -> bool:
            state = self.field(job, "JobState")
            ended = state in ("FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "COMPLETED")
            assert state in states or not ended, f"job {job}: {state}"
            return state in states

        wait_for(
            there, f"job {job} to be {' or '.join(states)}", evidence=lambda: self.evidence(job)
        )

    def evidence(self, job: str) -> str:
        """Return the state of a job that hangs, and its log with a stack of each thread."""
        told = [
            self.attempt(*command).stdout
            for command in (("scontrol", "show", "job", job), ("squeue", "-l"), ("sinfo", "-lNR"))
        ]
        self.attempt("scancel", "--signal=ABRT", job)
        time.sleep(5)
        log = re.search(r"StdOut=(\S+)", told[0])
        found = Path(log[1]) if log else None
        text = found.read_text(errors="replace")[-20_000:] if found and found.exists() else ""
        return "\n".join([*told, text])

    def wait_for_return(self, job: str) -> None:
        """Wait until a job is in the queue again, and let it start soon.

        SLURM makes it wait for two minutes. If it starts within the second in which it ended, it
        fails: credentials of the two starts would be the same.
        """
        wait_for(lambda: self.field(job, "Restarts") == "1", f"job {job} to be requeued")
        self.wait(job, "PENDING")
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now+5")

    def _write(self) -> None:
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for free in sockets:
                free.bind(("127.0.0.1", 0))
            ports = [free.getsockname()[1] for free in sockets]
        host = socket.gethostname().partition(".")[0]
        text = SETTINGS.format(host=host, folder=self.folder, ports=ports, nodes=NODES)
        (self.folder / "slurm.conf").write_text(text)

    @contextlib.contextmanager
    def _daemon(self, *command: str) -> Iterator[None]:
        with (self.folder / f"{'-'.join(command)[:40].replace('/', '_')}.log").open("w") as log:
            process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ready(self) -> bool:
        done = self.attempt("sinfo", "-h", "-N", "-o", "%T")
        return done.stdout.split() == ["idle"] * len(NODES)

    def _end_jobs(self) -> None:
        self.attempt("scancel", "--full", "--signal=KILL", "--user=root")
        self.attempt("scancel", "--user=root")
        wait_for(lambda: not self.attempt("squeue", "-h").stdout.strip(), "the last job", 90)
