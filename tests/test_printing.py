"""Printing never ends a command: readers that go away, full disks, closed streams, ASCII."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_lightning import printing
from tests import processes
from tests.cli.conftest import write_inputs

ROOT = str(Path(__file__).parents[1])


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `nas` is the command."""
    nas = f'nas() {{ {sys.executable} -m nas_lightning "$@"; }}; {line}'
    environment = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run(
        ["bash", "-c", nas], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("nas --help | true; exit ${PIPESTATUS[0]}", 141, ""),  # as `cat` ends
        ("nas --help > /dev/full", 1, "nas: the output cannot be written: No space left"),
        ("nas --help >&-", 1, "nas: the output cannot be written: Bad file descriptor"),
        ("nas fti 2>&-", 2, ""),
        ("nas fti 2> /dev/full", 2, ""),
        ("(nas fti; echo $? >&3) 3>&1 2>&1 >/dev/null | true", 0, ""),
        ("PYTHONIOENCODING=ascii:strict nas τ", 2, r"nas: no verb '\u03c4'"),
    ],
)
def test_verbs_that_show_something_end_quietly(line: str, code: int, said: str) -> None:
    done = shell(line)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)


@pytest.mark.slow
def test_a_run_goes_on_without_a_place_to_print(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    line = "fit --config search --trainer.logger false"
    run = processes.start(
        processes._nas,
        *(line.split(), None),
        folder=tmp_path,
        out=Path("/dev/full"),
        err=Path("/dev/full"),
    )
    run.join(280)
    assert run.exitcode == 0
    assert (tmp_path / "runs/search/genotype.json").exists()


def stream(number: int) -> io.TextIOWrapper:
    """A protected stream to a descriptor."""
    return io.TextIOWrapper(io.BufferedWriter(printing._Descriptor(number, "w", closefd=False)))


def test_a_reader_that_goes_away_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    out = stream(write)
    monkeypatch.setattr(sys, "stdout", out)
    print("read", flush=True)
    assert os.read(read, 10) == b"read\n"
    os.close(read)
    for _ in range(1000):
        print("x" * 1000)
    assert printing.exit_code(0) == 141
    assert printing.exit_code(0) == 0  # of the next command in this process
    print("x", flush=True)
    assert printing.exit_code(3) == 3  # the command knows better
    os.close(write)


def test_a_reader_that_is_slow_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    child = os.fork()
    if not child:
        os.close(write)
        count = 0
        while part := os.read(read, 1000):
            count += len(part)
        os._exit(count != 1_000_000)
    os.close(read)
    out = stream(write)
    out.write("x" * 1_000_000)
    out.flush()
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0


def test_any_error_of_the_system_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    out = stream(os.open(os.devnull, os.O_RDONLY))  # cannot be written
    monkeypatch.setattr(sys, "stdout", out)
    print("lost", flush=True)
    assert out.buffer.raw.failure.errno == errno.EBADF  # type: ignore[attr-defined] # ours


def test_streams_of_others_are_left_alone() -> None:
    before = sys.stdout, sys.stderr
    printing.protect()
    assert (sys.stdout, sys.stderr) == before  # of pytest
