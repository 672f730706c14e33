"""Two processes draw the same operations."""

from pathlib import Path

import lightning
import pytest
import torch

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule
from nas_lightning.strategies import (
    GDAS,
    BinaryGates,
)
from tests.conftest import SPEC, quiet_trainer, tiny_supernet
from tests.processes import run_two_processes
from tests.strategies.test_gumbel import Draws


def search(folder: Path) -> None:
    """The work of each of two processes."""
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
    )
    for method in (GDAS(), BinaryGates()):
        lightning.seed_everything(0, verbose=False)
        draws = Draws()
        module = SearchModule(SPEC, tiny_supernet(), strategies=[method, draws])
        trainer = quiet_trainer(devices=2, strategy="ddp_find_unused_parameters_true")
        trainer.fit(module, datamodule=data)
        state = {"state": module.state_dict(), "draws": draws.batches}
        torch.save(state, folder / f"{type(method).__name__}_{trainer.global_rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_draw_the_same(tmp_path: Path) -> None:
    run_two_processes("tests.strategies.test_gumbel_processes", "search", tmp_path)
    for method in ("GDAS", "BinaryGates"):
        one, two = (torch.load(tmp_path / f"{method}_{rank}.pt") for rank in range(2))
        assert len(one["draws"]) == 2
        assert one["draws"] == two["draws"]
        assert one["draws"][0] != one["draws"][1]
        for name, value in one["state"].items():
            assert torch.equal(value, two["state"][name]), name
