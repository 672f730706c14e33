"""A study as a job array: the requests to SLURM. tests/slurm runs the jobs."""

import os
from pathlib import Path

import pytest

from nas_lightning.slurm.batch_script import Request
from nas_lightning.slurm.submit import SubmitError
from nas_lightning.studies.job_array import submit_lines
from nas_lightning.studies.progress import Line
from tests.cli.test_submit import command, directives, without

LINES = [Line("darts", 0), Line("darts", 1), Line("random", 0)]


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for sbatch, which keeps what it is given and counts from 1; srun is looked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    keep = f"""n=$(ls {tmp_path}/given.* 2> /dev/null | wc -l)
cp "$1" {tmp_path}/given.$((n + 1))
echo Submitted batch job $((n + 1))
"""
    for name, text in (("sbatch", keep), ("srun", "")):
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder / "sbatch"


def requested(folder: Path) -> Request:
    logs = str(folder / "s/logs")
    return Request("s", logs, gpus=2, tasks=1, cpus=6, memory="8G", time="2-0", partition="p")


def test_an_array_and_a_report_after_it(tmp_path: Path, sbatch: Path) -> None:
    (tmp_path / "s").mkdir()
    said = submit_lines(tmp_path / "s", LINES, False, requested(tmp_path), at_once=2)
    scripts = [(tmp_path / f"given.{number}").read_text("utf-8") for number in (1, 2)]
    array, report = (without(directives(script), "output", "wckey") for script in scripts)
    shared = {
        "partition": "p",
        "nodes": "1",
        "ntasks-per-node": "1",
        "mem": "8G",
        "time": "2-0",
        "signal": "USR1@300",
        "open-mode": "append",
        "requeue": "",
    }
    own = {"job-name": "s", "array": "0-2%2", "gpus-per-node": "2", "cpus-per-task": "6"}
    assert array == {**shared, **own}
    own = {"job-name": "s-report", "dependency": "afterany:1", "cpus-per-task": "1"}
    assert report == {**shared, **own}
    # one process fails, all end; and a step has the CPUs of its job, which srun alone would not say
    assert {"--kill-on-bad-exit=1", "--cpus-per-task=6"} <= set(command(scripts[0]))
    assert {"--kill-on-bad-exit=1", "--cpus-per-task=1"} <= set(command(scripts[1]))
    rows = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert rows["array"] == "1, 3 jobs; 2 reports after them"
    assert rows["logs"] == str(tmp_path / "s/logs")


def test_all_jobs_may_run_at_once(tmp_path: Path, sbatch: Path) -> None:
    (tmp_path / "s").mkdir()
    submit_lines(tmp_path / "s", LINES, False, requested(tmp_path))
    assert directives((tmp_path / "given.1").read_text("utf-8"))["array"] == "0-2%3"


def test_a_refusal_of_slurm_is_reported(tmp_path: Path, sbatch: Path) -> None:
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2\nexit 1\n")
    (tmp_path / "s").mkdir()
    with pytest.raises(SubmitError, match="no such partition"):
        submit_lines(tmp_path / "s", LINES, False, requested(tmp_path))
