"""Two gloo processes search together: one architecture, one set of weights, averaged gradients."""

import os
from pathlib import Path

import lightning
import pytest
import torch

from nas_lightning.data import Synthetic
from nas_lightning.search import ArchStep, SearchModule, SearchStrategy
from nas_lightning.strategies import Backtracking, EdgeNormalization, PartialChannels
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.processes import run_two_processes


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
    trainer = quiet_trainer(
        devices=2,
        strategy="ddp",
        max_epochs=2,
    )
    trainer.fit(module, datamodule=data)
    state = {"state": module.state_dict(), "first": keep.first, "steps": trainer.global_step}
    torch.save(state, folder / f"{trainer.global_rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_hold_the_same_architecture_and_weights(tmp_path: Path) -> None:
    run_two_processes("tests.ddp.test_search_two_processes", "search", tmp_path)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one["steps"] == two["steps"] == 2 * 2 * 2  # epochs, batches a rank, optimizers
    for name, value in one["state"].items():
        assert torch.equal(value, two["state"][name]), name
    for name, value in one["first"].items():
        assert torch.equal(value, two["first"][name]), name  # averaged, so equal
        assert value.abs().max() > 0
