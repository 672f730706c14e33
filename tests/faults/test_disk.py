"""A disk that fills up, and one that takes nothing: the run says so, and goes on later."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas_lightning.runs.failures import Run, explain
from tests import processes
from tests.cli.conftest import SEARCH
from tests.runs.test_resume import assert_same_end

SETTINGS = "fit --config search --trainer.max_epochs 12 --trainer.log_every_n_steps 2"
Mount = Callable[[str], None]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a small disk in memory at `disk`, or changes it: `mount("size=1m")`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def call(*command: str) -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def change(options: str) -> None:
        again = "remount," if disk.is_mount() else ""
        if not call("mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(disk)):
            pytest.skip("mounting a disk needs root")

    yield change
    call("umount", str(disk))


def nas(folder: Path, line: str) -> tuple[int | None, str]:
    """Run `nas` in a process of its own and return its exit code and stderr."""
    code, _, err = processes.run_nas(folder, line.split())
    return code, err


@pytest.mark.slow
def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    tmp_path: Path, mount: Mount
) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH, encoding="utf-8")
    mount("size=600k")  # for a few epochs
    line = f"{SETTINGS} --run_dir disk/run"
    code, err = nas(tmp_path, line)
    assert code == 1, err
    message = err.strip().splitlines()[-1]
    assert message.startswith("nas: ")
    assert "No space left on device" in message
    assert "--ckpt_path" in message
    mount("size=50m")
    code, err = nas(tmp_path, f"{line} --ckpt_path auto")
    assert code == 0, err
    code, err = nas(tmp_path, f"{SETTINGS} --run_dir whole")
    assert code == 0, err
    assert_same_end(str(tmp_path / "whole"), str(tmp_path / "disk/run"))


@pytest.mark.slow
def test_a_disk_that_cannot_be_written_is_said_before_anything_runs(
    tmp_path: Path, mount: Mount
) -> None:
    (tmp_path / "search.yaml").write_text(SEARCH, encoding="utf-8")
    mount("size=1m")
    mount("ro")
    code, err = nas(tmp_path, f"{SETTINGS} --run_dir disk/run")
    assert code == 2
    assert err == "nas: cannot make the run directory disk/run: Read-only file system\n"


def test_an_error_without_a_file_name_names_the_run_directory(tmp_path: Path) -> None:
    run = Run("fit", {"run_dir": str(tmp_path / "r")})
    text = explain(OSError(28, "No space left on device"), run)
    assert text == (
        f"{tmp_path}/r cannot be written: No space left on device; make room there; there is no "
        f"checkpoint yet: start it again"
    )
