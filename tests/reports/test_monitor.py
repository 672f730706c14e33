"""What a search shows: the genotype file, curves, pictures and text."""

import csv
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas_lightning.data import Synthetic
from nas_lightning.genotype import Genotype
from nas_lightning.reports.monitor import SearchMonitor, entropy
from nas_lightning.search import SearchModule
from nas_lightning.strategies import EdgeNormalization
from tests.conftest import PRIMITIVES, SearchFactory, TrainerFactory


def test_entropy_of_equal_certain_and_hand_made_weights() -> None:
    assert entropy(torch.full((3, 4), 0.25)).item() == pytest.approx(math.log(4))
    assert entropy(torch.tensor([[0.0, 1.0]])).item() == 0.0
    by_hand = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy(torch.tensor([1.0, 3.0])).item() == pytest.approx(by_hand)


@pytest.fixture
def watched(
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
) -> SearchModule:
    """A search of two epochs, watched in `tmp_path`."""
    loggers = [TensorBoardLogger(tmp_path, name="", version=""), CSVLogger(tmp_path, name="csv")]
    module = make_search([EdgeNormalization()])
    trainer = make_trainer(max_epochs=2, logger=loggers, callbacks=[SearchMonitor(tmp_path)])
    trainer.fit(module, datamodule=search_data)
    return module


def test_everything_is_shown(watched: SearchModule, tmp_path: Path) -> None:
    genotype = Genotype.load(tmp_path / "genotype.json", watched.space)
    assert genotype == watched.genotype()
    assert genotype.provenance["epoch"] == 1
    assert torch.tensor(genotype.mixing["normal"]["ops"]).shape == (5, 4)

    board = EventAccumulator(str(tmp_path))
    board.Reload()
    tags = board.Tags()
    assert {"cells", "operation_weights/normal", "edge_weights/reduce"} <= set(tags["images"])
    assert {"plan/text_summary", "genotype/text_summary"} <= set(tags["tensors"])
    curves = {f"alpha/normal/0-2/{name}" for name in PRIMITIVES} | {"beta/reduce/2-3"}
    curves |= {f"search/{name}_normal" for name in ("skips", "entropy", "edge_entropy")}
    assert curves <= set(tags["scalars"])
    # five edges of four operations, and five β, of two kinds of cells
    assert sum(tag.startswith("alpha/") for tag in tags["scalars"]) == 2 * 5 * 4
    assert sum(tag.startswith("beta/") for tag in tags["scalars"]) == 2 * 5
    last = board.Scalars("alpha/normal/0-2/skip_connect")[-1].value
    assert last == pytest.approx(watched.arch.alpha["normal"][0, 2].item())
    assert len(board.Images("cells")) == 2  # each epoch

    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["search/skips_normal"]]
    assert len(rows) == 2
    assert float(rows[-1]["search/skips_normal"]) == genotype.count("skip_connect", "normal")
    weights = watched.arch().ops["normal"]
    by_hand = -(weights * weights.log()).sum(dim=1).mean().item()
    assert float(rows[-1]["search/entropy_normal"]) == pytest.approx(by_hand, rel=1e-5)
