"""The folder of a study, which one command holds, and the environments of its processes."""

from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout

from nas_lightning.cli.study import read
from nas_lightning.studies.run import environments, run_study
from tests.cli.conftest import Nas


def test_a_folder_in_use_is_refused(work: Path, nas: Nas) -> None:
    (work / "s").mkdir()
    with FileLock(work / "s" / ".lock"):
        result = nas("study --config search.yaml --retrain retrain.yaml --dir s")
    assert result.code == 2
    assert "in use by another" in result.err


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Timeout("elsewhere")])
def test_an_error_of_a_study_is_not_taken_for_its_lock(
    work: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("nas_lightning.studies.run.prepare", lambda _: None)
    monkeypatch.setattr("nas_lightning.studies.run.begin", fail)
    given = read(["--config", "search.yaml", "--retrain", "retrain.yaml", "--dir", "s"])
    with pytest.raises(OSError) as raised:  # noqa: PT011 (it is compared below)
        run_study(*given)
    assert raised.value is error
    with FileLock(work / "s" / ".lock").acquire(timeout=0):  # it is free again
        pass


def test_a_folder_that_cannot_be_made_is_refused(work: Path, nas: Nas) -> None:
    (work / "s").touch()
    result = nas("study --config search.yaml --retrain retrain.yaml --dir s")
    assert result.code == 2
    assert "cannot write to s: File exists; choose another --dir" in result.err


def test_each_process_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("nas_lightning.studies.run.cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert environments(None) == [{"OMP_NUM_THREADS": "8"}]
    assert environments(2) == [{"OMP_NUM_THREADS": "4"}] * 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments(None)] == ["5", "7"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments(3)] == ["5", "7", "5"]
