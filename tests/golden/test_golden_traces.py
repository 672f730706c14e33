"""Golden traces: α of every method after each of five steps, in double precision.

They change only when a method changes. `NAS_WRITE_GOLDEN=1 pytest tests/golden` writes them anew.
"""

import copy
import json
import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchStrategy
from tests.conftest import SearchFactory, TrainerFactory
from tests.contract.test_strategies import METHODS, Recorder

FOLDER = Path(__file__).parent
STEPS = 5


def golden(method: str) -> Tensor:
    """What is written down for a method (5, E · O)."""
    rows = json.loads((FOLDER / f"{method}.json").read_text())
    return torch.tensor(rows, dtype=torch.float64)


def trace(
    strategies: Sequence[SearchStrategy],
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    accelerator: str = "cpu",
) -> Tensor:
    """α of the normal cells after each step (5, E, O)."""
    data = Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=48, test_size=16, batch_size=8
    )
    recorder = Recorder()
    trainer = make_trainer(
        accelerator=accelerator,
        devices=1,
        precision="64-true",
        max_epochs=2,  # of three batches: some methods change at the start of an epoch
        limit_val_batches=0,
        callbacks=[recorder],
    )
    trainer.fit(make_search(copy.deepcopy(list(strategies))), datamodule=data)
    return torch.stack([step["alpha.normal"] for step in recorder.trace[:STEPS]])


@pytest.mark.parametrize("method", METHODS)
def test_a_method_does_what_it_did(
    method: str, make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    found = trace(METHODS[method], make_search, make_trainer)
    assert found.shape[0] == STEPS
    file = FOLDER / f"{method}.json"
    if os.environ.get("NAS_WRITE_GOLDEN") == "1":
        rows = [json.dumps([round(v, 12) for v in step.flatten().tolist()]) for step in found]
        file.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    torch.testing.assert_close(found.flatten(1), golden(method), rtol=1e-6, atol=1e-9)


def test_all_traces_differ() -> None:
    for first, second in combinations(METHODS, 2):
        assert not torch.equal(golden(first), golden(second)), (first, second)


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(METHODS)
