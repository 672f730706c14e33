"""Memory that runs out: what to lower, what it is now, and how the run goes on."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

import nas_lightning.strategies
from nas_lightning.runs.memory import HUNGRY, is_out_of_memory, lower, peak, wanted
from tests.cli.conftest import Nas

LINE = "fit --config search --trainer.max_epochs 2"
GPU = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB"


class Exhaust(Callback):
    """Runs out of memory within an epoch.

    Args:
        kind: `cpu` (a real allocation), `gpu` or `python`.
        epoch: Counted from 0.
    """

    def __init__(self, kind: str, epoch: int = 1) -> None:
        self.kind = kind
        self.epoch = epoch

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) != (self.epoch, 1):
            return
        if self.kind == "cpu":
            torch.empty(2**50)
        if self.kind == "gpu":
            raise torch.OutOfMemoryError(GPU)
        raise MemoryError


def exhaust(kind: str, epoch: int = 1) -> list[str]:
    name = "--trainer.callbacks+=tests.faults.test_memory.Exhaust"
    return [name, f"--trainer.callbacks.kind={kind}", f"--trainer.callbacks.epoch={epoch}"]


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("cpu", " (4,194,304.0 GiB more were asked for)"),
        ("gpu", " (2.50 GiB more were asked for)"),
        ("python", ""),
    ],
)
def test_the_message_says_what_to_lower_and_the_run_goes_on(
    nas: Nas, kind: str, asked: str
) -> None:
    result = nas(LINE, *exhaust(kind))
    assert result.code == 1
    (message,) = result.err.strip().splitlines()
    assert message.startswith(f"nas: out of memory{asked}: this process held at most ")
    for part in (
        "lower data.batch_size (8), model.supernet.channels (8), model.supernet.layers (3)",
        "data.image_size (8)",
        "raise k of PartialChannels (4)",
        "--ckpt_path last resumes from its last checkpoint, also with another batch size",
    ):
        assert part in message
    resumed = nas(f"{LINE} --ckpt_path last --data.batch_size 4")
    assert resumed.code == 0, resumed.err
    assert torch.load("runs/search/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1


def test_before_the_first_checkpoint(nas: Nas) -> None:
    result = nas(LINE, *exhaust("gpu", epoch=0))
    assert result.code == 1
    assert result.err.strip().endswith("; there is no checkpoint yet: start it again")


@pytest.mark.slow
def test_a_process_with_little_memory(work: Path) -> None:
    limit = 6 * 2**30
    line = [*LINE.split(), "--model.supernet.channels=40000"]  # one matrix of 6 GB and more
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "nas_lightning", *line],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (message,) = [text for text in done.stderr.splitlines() if text.startswith("nas: ")]
    assert "out of memory (" in message
    assert "model.supernet.channels (40000)" in message
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(GPU), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts(error: Exception, found: bool) -> None:
    assert is_out_of_memory(error) is found


def strategies(*items: dict[str, Any]) -> dict[str, Any]:
    return {"model": {"init_args": {"strategies": list(items)}}}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "lower the batch size"),
        (
            {"data": {"init_args": {"batch_size": 64, "bptt": 35}}},
            "lower data.batch_size (64) or data.bptt (35)",
        ),
        (
            {"model": {"init_args": {"network": {"init_args": {"channels": 36, "layers": 20}}}}},
            "lower model.network.channels (36) or model.network.layers (20)",
        ),
        (strategies(), "lower the batch size or add PartialChannels to model.strategies"),
        (
            strategies({"class_path": "nas_lightning.strategies.Unrolled"}),
            "lower the batch size, add PartialChannels to model.strategies or leave out Unrolled",
        ),
        (
            strategies(
                {"class_path": "a.PartialChannels", "init_args": {"k": 2}},
                {"class_path": "a.AmendedGradient", "init_args": {"exact": True}},
            ),
            "lower the batch size, raise k of PartialChannels (2) or set exact of "
            "AmendedGradient to false",
        ),
    ],
)
def test_what_to_lower(config: dict[str, Any], text: str) -> None:
    assert lower(config) == text


def test_the_strategies_that_are_named_exist() -> None:
    for name in (*HUNGRY, "PartialChannels"):
        assert hasattr(nas_lightning.strategies, name)


def test_the_peak_is_that_of_the_process() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    said = float(peak().split("at most ")[1].split(" GiB")[0].replace(",", ""))
    assert said == pytest.approx(before, abs=0.1)
    block = torch.ones(2**28)  # 1 GiB
    later = float(peak().split("at most ")[1].split(" GiB")[0].replace(",", ""))
    assert later > block.numel() * 4 / 2**30


def test_nothing_is_made_up_about_the_size() -> None:
    assert wanted(MemoryError()) == ""
