"""Signals to a process: noted, or raised at once, from the first moment of a command on."""

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_lightning import signals
from nas_lightning.cli import fit, main, verbs
from nas_lightning.signals import ALL, Inbox, Stopped
from nas_lightning.studies import line_job

MAIN = sys.modules["nas_lightning.cli.main"]  # the package has a function of this name
ROOT = str(Path(__file__).parents[1])


def send(number: int) -> None:
    """Send a signal to this process, and let Python handle it."""
    os.kill(os.getpid(), number)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """An inbox that only notes signals."""
    before = [signal.getsignal(number) for number in ALL]
    with signals.received(Inbox(at_once=False)) as inbox:
        yield inbox
    assert [signal.getsignal(number) for number in ALL] == before


@pytest.mark.parametrize("number", ALL)
def test_a_signal_is_noted_with_a_line(
    number: int, inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.notice = "nas: stopping"
    send(number)
    assert inbox.asked == number
    more = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
    assert capsys.readouterr().err == f"\nnas: stopping{more}\n"
    send(signal.SIGTERM)
    assert inbox.asked == number  # the first one counts
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_inside_attended_it_is_raised_where_the_program_is(inbox: Inbox) -> None:
    went_on = []
    with pytest.raises(Stopped) as stopped, inbox.attended():  # noqa: PT012 (which of them raises matters)
        send(signal.SIGHUP)
        went_on.append(True)
    assert not went_on
    assert stopped.value.number == signal.SIGHUP
    send(signal.SIGTERM)  # the program ends already
    with inbox.attended():
        send(signal.SIGTERM)


class Finalized:
    """An object at whose end a signal comes."""

    def __del__(self) -> None:
        send(signal.SIGTERM)


def by_finalizer() -> None:
    Finalized()  # its end comes at once


def by_weak_reference() -> None:
    thing = Thing()
    watched = weakref.ref(thing, lambda _: send(signal.SIGTERM))
    del thing
    assert watched() is None


class Thing:
    """An object that can be referred to weakly."""


@pytest.mark.parametrize("signal_where_errors_are_dropped", [by_finalizer, by_weak_reference])
def test_an_error_that_python_drops_is_raised_after_it(
    signal_where_errors_are_dropped: Callable[[], None],
    inbox: Inbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Stopped) as stopped, inbox.attended():  # noqa: PT012 (which of them raises matters)
        signal_where_errors_are_dropped()
        time.sleep(20)
    assert stopped.value.number == signal.SIGTERM
    assert inbox.raised
    assert capsys.readouterr().err == ""


def test_a_dropped_signal_is_noted_if_nothing_may_be_raised_any_more(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.notice = "nas: stopping"
    with inbox.attended():
        by_finalizer()
    time.sleep(0.1)
    assert inbox.asked == signal.SIGTERM
    assert not inbox.raised
    assert capsys.readouterr().err == "\nnas: stopping\n"


def test_other_dropped_errors_are_reported_as_before(
    inbox: Inbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(inbox, "_report_dropped", lambda found: said.append(found.exc_value))
    thing, error = Thing(), ValueError("of a callback")

    def fail(_: object) -> None:
        raise error

    watched = weakref.ref(thing, fail)
    del thing
    assert watched() is None
    assert said == [error]


def test_a_noted_signal_is_raised_when_attended_begins(inbox: Inbox) -> None:
    send(signal.SIGUSR2)
    with pytest.raises(Stopped), inbox.attended():
        raise AssertionError
    assert not inbox.at_once


def test_a_deferred_signal_waits_for_another_one(inbox: Inbox) -> None:
    inbox.deferred = (signal.SIGUSR1,)
    with pytest.raises(Stopped) as stopped, inbox.attended():  # noqa: PT012 (which of them raises matters)
        send(signal.SIGUSR1)
        with inbox.attended():
            send(signal.SIGTERM)
    assert stopped.value.number == signal.SIGUSR1  # it says what to do


def test_a_process_of_a_study_does_not_requeue() -> None:
    with signals.received(Inbox(at_once=False, requeue=False)) as inbox:
        send(signal.SIGUSR1)
    assert inbox.asked == signal.SIGTERM


def test_what_is_ignored_at_the_start_stays_ignored() -> None:
    code = (
        "import os, signal; from nas_lightning.signals import Inbox, received\n"
        "with received(Inbox()):\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('alive')"
    )
    command = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "alive\n", done.stderr


@pytest.mark.parametrize("number", ALL)
@pytest.mark.parametrize("verb", ["test", "predict", "bench", "lookup"])
def test_a_verb_ends_with_one_line(
    verb: str, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MAIN, "find", lambda _: lambda _: send(number))
    assert verb in verbs.VERBS
    assert main([verb]) == 128 + number
    name = signal.Signals(number).name
    said = "interrupted" if number == signal.SIGINT else f"stopped by {name}"
    assert capsys.readouterr().err == f"nas: {said}\n"


def test_an_error_that_a_signal_caused_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        try:
            send(signal.SIGTERM)
        except Stopped as error:  # as code that catches everything does
            raise ImportError("half imported") from error

    monkeypatch.setattr(MAIN, "find", lambda _: fail)
    assert main(["test"]) == 143
    assert capsys.readouterr().err == "nas: stopped by SIGTERM\n"


BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "ENVIRONMENT": "BATCH"}


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A batch job of SLURM, and a file with what was asked of its scontrol."""
    for name, value in BATCH.items():
        monkeypatch.setenv(name, value)
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "asked"


@pytest.mark.parametrize("number", ALL)
def test_a_fit_says_that_there_is_nothing_to_save(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "_lightning", lambda _: send(number))
    assert main(["fit"]) == 128 + number
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    assert capsys.readouterr().err == (
        f"nas: {name} stopped the run before there was anything to save; "
        "the same command with --ckpt_path auto starts it again\n"
    )


@pytest.mark.parametrize("number", ALL)
def test_before_there_is_anything_to_save_a_job_is_requeued_too(
    number: int, scontrol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "_lightning", lambda _: send(number))
    assert main(["fit"]) == 128 + number
    if number not in signals.REQUEUE:
        assert not scontrol.exists()
        return
    assert scontrol.read_text() == "requeue 7\n"
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("requeueing job 7")
    assert last == "nas: job 7 is in the queue again and goes on there"


def test_only_the_first_process_requeues_and_the_others_wait(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    went_on = []

    def begin(_: object) -> None:
        send(signal.SIGUSR1)
        went_on.append(True)
        send(signal.SIGTERM)  # of SLURM, which ends the job

    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setattr(fit, "_lightning", begin)
    assert main(["fit"]) == 128 + signal.SIGUSR1
    assert went_on
    assert not scontrol.exists()
    assert capsys.readouterr().err == ""


def test_a_job_of_a_study_is_requeued(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_job, "_run", lambda *_: None)
    line_job.run_in_job(Path("s"), False, "darts", 0)  # ends well: no SystemExit

    def stopped(*_: object) -> None:
        send(signal.SIGUSR1)

    monkeypatch.undo()
    for name, value in BATCH.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(scontrol.parent), prepend=os.pathsep)
    monkeypatch.setattr("nas_lightning.studies.lines.run_line", stopped)
    with pytest.raises(SystemExit) as ended:
        line_job.run_in_job(Path("s"), False, "darts", 0)
    assert ended.value.code == 128 + signal.SIGUSR1
    assert scontrol.read_text() == "requeue 7\n"


def test_a_study_in_a_job_is_requeued(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_lightning.studies.run.run_study", lambda *_: send(signal.SIGUSR2))
    line = "study --config search.yaml --retrain retrain.yaml"
    assert main(line.split()) == 128 + signal.SIGUSR2
    assert scontrol.read_text() == "requeue 7\n"
