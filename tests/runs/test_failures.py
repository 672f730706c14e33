"""One-line messages for failures."""

from multiprocessing import resource_sharer
from pathlib import Path

import pytest
import torch

from nas_lightning.runs.failures import Run, explain, links

SIGNAL = "DataLoader worker (pid 7) is killed by signal: {}. "
DETAILS = (
    ". Details are lost due to multiprocessing. Rerunning with num_workers=0 may give better error "
    "trace."
)


def run_in(folder: Path) -> Run:
    """Return a fit with four loading processes and a checkpoint."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/last.ckpt").touch()
    return Run("fit", {"run_dir": str(folder), "data": {"init_args": {"num_workers": 4}}})


@pytest.mark.parametrize(
    "text",
    [
        SIGNAL.format("Killed"),
        "DataLoader worker (pid(s) 7) exited unexpectedly",
        "DataLoader worker (pid 7) exited unexpectedly with exit code -9" + DETAILS,
    ],
)
def test_a_killed_loading_process_has_one_message(text: str, tmp_path: Path) -> None:
    """PyTorch reports either the signal or the exit, whichever it notices first."""
    assert explain(RuntimeError(text), run_in(tmp_path)) == (
        "a loading process (pid 7) was killed; usually the machine ran out of memory: lower "
        "data.num_workers (4); the same command with --ckpt_path last resumes from its last "
        "checkpoint"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SIGNAL.format("Bus error") + "It is possible that dataloader's workers are out of",
            "was killed (Bus error); usually /dev/shm is full: make it larger, or lower "
            "data.num_workers (4)",
        ),
        (
            SIGNAL.format("Segmentation fault"),
            "was killed (Segmentation fault); set data.num_workers to 0 to see where",
        ),
        (
            "DataLoader worker (pid 7) exited unexpectedly with exit code 3" + DETAILS,
            "exited with code 3; set data.num_workers to 0 to see why",
        ),
    ],
)
def test_other_causes_are_kept(text: str, message: str, tmp_path: Path) -> None:
    found = explain(RuntimeError(text), run_in(tmp_path))
    assert found is not None
    assert found.startswith(f"a loading process (pid 7) {message}; the same command with")


def test_several_processes_and_a_verb_that_cannot_resume() -> None:
    error = RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly")
    for run in (Run(), Run("test", {"data": {"init_args": {}}})):
        assert explain(error, run) == (
            "a loading process (pid 7, 8) was killed; usually the machine ran out of memory: lower "
            "data.num_workers"
        )


def test_a_loading_process_that_dies_while_it_hands_over_a_batch() -> None:
    """Python connects to the process for the tensor's memory, and finds it gone."""
    address, key = resource_sharer.DupFd(0)._id  # type: ignore[attr-defined] # of the socket here
    resource_sharer.stop()
    with pytest.raises(OSError) as caught:  # noqa: PT011 (by the moment: gone, or refused)
        resource_sharer._resource_sharer.get_connection((address, key))  # type: ignore[attr-defined]
    assert (explain(caught.value) or "").startswith("a loading process was killed; usually")
    assert explain(ConnectionResetError(104, "Connection reset by peer")) is None


def test_batch_norm_of_a_single_value_is_explained() -> None:
    norm = torch.nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="Expected more than 1") as caught:
        norm(torch.zeros(1, 2, 1, 1))
    assert (explain(caught.value) or "").startswith("batch norm cannot normalise a batch of one")


def test_a_package_that_a_setting_needs_is_named() -> None:
    error = ModuleNotFoundError("Requirement 'torch_xla>=1.13' not met. HINT: Try running `pip …`")
    text = "a setting of trainer needs the package torch_xla, which is not installed"
    assert explain(error) == text


def test_a_circle_of_errors_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert list(links(one)) == [one, other]
