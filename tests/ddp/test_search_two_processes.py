"""Two gloo processes search together: one architecture, one set of weights, averaged gradients."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from lightning import Trainer

from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import Backtracking, EdgeNormalization, PartialChannels
from tests.conftest import SPEC, tiny_supernet


class Keep(SearchStrategy):
    """Keeps the gradients of the first architecture step."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_after_arch_step(self, module: SearchModule, step: ArchStep) -> None:
        self.first = self.first or dict(step.gradients)


def search(folder: Path) -> None:
    """What each of the two processes does."""
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
    )
    # other seeds on purpose: α must come from rank 0, and so must the weights
    lightning.seed_everything(int(os.environ["RANK"]), verbose=False)
    keep = Keep()
    rule = Backtracking(start=-10, rate=0.1, coefficient=0.04)
    strategies = [PartialChannels(2), EdgeNormalization(), rule, keep]
    module = SearchModule(SPEC, tiny_supernet(), strategies=strategies)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=data)
    state = {"state": module.state_dict(), "first": keep.first, "steps": trainer.global_step}
    torch.save(state, folder / f"{trainer.global_rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_hold_the_same_architecture_and_weights(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    code = f"import pathlib, {__name__} as t; t.search(pathlib.Path({str(tmp_path)!r}))"
    code = code.replace(__name__, "tests.ddp.test_search_two_processes")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one["steps"] == two["steps"] == 2 * 2 * 2  # epochs, batches a rank, optimizers
    for name, value in one["state"].items():
        assert torch.equal(value, two["state"][name]), name
    for name, value in one["first"].items():
        assert torch.equal(value, two["first"][name]), name  # averaged, so equal
        assert value.abs().max() > 0
