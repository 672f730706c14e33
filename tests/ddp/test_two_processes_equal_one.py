"""Two gloo processes that see the same batches do bit for bit what one does, for each method."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.contract.test_strategies import METHODS, Recorder
from tests.processes import run_two_processes


class Undivided(Synthetic):
    """Does not deal the samples out: every process gets all of them."""

    def _world(self) -> tuple[int, int]:
        return 0, 1


def search(strategies: Sequence[SearchStrategy], **kwargs: Any) -> list[dict[str, Tensor]]:
    """α and β after each of two batches of two epochs, and the weights at the end."""
    lightning.seed_everything(0, verbose=False)
    data = Undivided(
        in_channels=3, num_classes=4, image_size=8, train_size=32, test_size=16, batch_size=8
    )
    module = SearchModule(SPEC, tiny_supernet(), strategies=copy.deepcopy(list(strategies)))
    recorder = Recorder()
    trainer = quiet_trainer(
        max_epochs=2,
        limit_val_batches=0,
        callbacks=[recorder],
        **kwargs,
    )
    trainer.fit(module, datamodule=data)
    weights = {n: p.detach().clone() for n, p in module.supernet.named_parameters()}
    return [*recorder.trace, weights]


def all_methods(folder: Path) -> None:
    """What each of the two processes does."""
    found = {}
    for name, strategies in METHODS.items():
        unused = any(strategy.leaves_parameters_unused for strategy in strategies)
        ddp = "ddp_find_unused_parameters_true" if unused else "ddp"
        found[name] = search(strategies, devices=2, strategy=ddp)
    rank = torch.distributed.get_rank()
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    run_two_processes("tests.ddp.test_two_processes_equal_one", "all_methods", tmp_path)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one.keys() == two.keys() == METHODS.keys()
    for name, strategies in METHODS.items():
        alone = search(strategies)
        for step, expected in enumerate(alone):
            for parameter, value in expected.items():
                where = f"{name}, step {step}, {parameter}"
                assert torch.equal(value, one[name][step][parameter]), where
                assert torch.equal(value, two[name][step][parameter]), where
