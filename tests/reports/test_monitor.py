"""What a search shows: the genotype file, curves, pictures and text."""

import csv
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch import Tensor, nn

from nas_lightning.architecture import Cell, Edge, Genotype, SearchSpace
from nas_lightning.callbacks.search_monitor import SearchMonitor, _edge_names, entropy
from nas_lightning.data import Synthetic, SyntheticText
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSpace, RecurrentSpace, RecurrentSupernet
from nas_lightning.strategies import EdgeNormalization
from nas_lightning.supernet import CellExecution, Mixing, Supernet, SupernetFactory
from nas_lightning.tasks import LanguageModeling
from tests.conftest import PRIMITIVES, SPEC, SearchFactory, TrainerFactory


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
    trainer = make_trainer(max_epochs=2, logger=loggers, callbacks=[SearchMonitor()])
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
    pictures = {"overview/picture_cells", "weights/operations_normal", "weights/edges_reduce"}
    assert pictures <= set(tags["images"])
    assert {"plan/text_summary", "genotype/text_summary"} <= set(tags["tensors"])
    curves = {f"weights_alpha/normal/0-2/{name}" for name in PRIMITIVES}
    curves |= {"weights_beta/reduce/2-3", "search/entropy", "search/skips"}
    curves |= {f"search/{name}_normal" for name in ("skips", "entropy", "edge_entropy")}
    assert curves <= set(tags["scalars"])
    # five edges of four operations, and five β, of two kinds of cells: for the charts of edges
    assert sum(tag.startswith("weights_alpha/") for tag in tags["scalars"]) == 2 * 5 * 4
    assert sum(tag.startswith("weights_beta/") for tag in tags["scalars"]) == 2 * 5
    assert not [tag for tag in tags["scalars"] if tag.startswith(("alpha/", "beta/"))]
    last = board.Scalars("weights_alpha/normal/0-2/skip_connect")[-1].value
    assert last == pytest.approx(watched.arch.alpha["normal"][0, 2].item())
    # a picture whenever the genotype has changed, at the step of the values of its epoch
    drawn = board.Images("overview/picture_cells")
    steps = [item.step for item in board.Scalars("search/entropy")]
    assert len(drawn) <= 2
    assert drawn[0].step == steps[0] == 3  # the last of four batches
    charts = custom_charts(board)
    assert [chart.title for chart in charts["alpha, normal cell"]] == [
        f"edge {name}" for name in _edge_names(watched.space.cells[0])
    ]
    # each chart matches the four operations of its edge, and nothing else
    for chart in charts["alpha, normal cell"] + charts["alpha, reduce cell"]:
        (pattern,) = chart.multiline.tag
        assert sum(bool(re.search(pattern, tag)) for tag in tags["scalars"]) == 4
    (pattern,) = charts["losses and metrics"][0].multiline.tag
    assert {tag for tag in tags["scalars"] if re.search(pattern, tag)} == {
        "search/train_loss_epoch", "search/val_loss", "search/arch_loss_epoch"
    }  # fmt: skip

    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    single = [row for row in table if row["alpha/normal/0-2/skip_connect"]]
    assert [(row["epoch"], row["step"]) for row in single] == [("0", "3"), ("1", "7")]
    assert float(single[-1]["alpha/normal/0-2/skip_connect"]) == pytest.approx(last)
    rows = [row for row in table if row["search/skips_normal"]]
    assert len(rows) == 2
    assert float(rows[-1]["search/skips_normal"]) == genotype.count("skip_connect", "normal")
    weights = watched.arch().ops["normal"]
    by_hand = -(weights * weights.log()).sum(dim=1).mean().item()
    assert float(rows[-1]["search/entropy_normal"]) == pytest.approx(by_hand, rel=1e-5)


def custom_charts(board: EventAccumulator) -> dict[str, list[Any]]:
    """The charts of Custom Scalars, by category."""
    (event,) = board.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    return {category.title: list(category.chart) for category in layout.category}


def test_single_curves_by_option(
    make_search: SearchFactory, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    monitor = SearchMonitor(pictures=False, curves=True)
    make_trainer(logger=logger, callbacks=[monitor]).fit(make_search(), datamodule=search_data)
    tags = board_of(tmp_path).Tags()
    assert sum(tag.startswith("alpha/") for tag in tags["scalars"]) == 2 * 5 * 4
    assert not tags["images"]


def test_names_of_edges() -> None:
    assert _edge_names(DartsSpace(2).cells[0])[:4] == [
        "cₖ₋₂ → 0", "cₖ₋₁ → 0", "cₖ₋₂ → 1", "cₖ₋₁ → 1"
    ]  # fmt: skip
    assert _edge_names(RecurrentSpace(2).cells[0]) == ["0 → 1", "0 → 2", "1 → 2"]
    three = Cell("three", 3, (Edge(0, 3), Edge(2, 3), Edge(3, 4)), ("a", "b"))
    assert _edge_names(three) == ["cₖ₋₃ → 0", "cₖ₋₁ → 0", "0 → 1"]


def board_of(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder))
    board.Reload()
    return board


def test_a_search_for_recurrent_cells_is_shown(
    make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    factory = RecurrentSupernet(hidden=4, steps=2)
    module = SearchModule({"num_tokens": 7}, factory, LanguageModeling())
    logger = TensorBoardLogger(tmp_path, name="", version="")
    trainer = make_trainer(
        limit_train_batches=2,
        limit_val_batches=1,
        logger=logger,
        callbacks=[SearchMonitor()],
    )
    data = SyntheticText(num_tokens=7, train_size=256, valid_size=256, batch_size=4, bptt=4)
    trainer.fit(module, datamodule=data)
    assert Genotype.load(tmp_path / "genotype.json") == module.genotype()
    tags = board_of(tmp_path).Tags()
    assert {"overview/picture_cells", "weights/operations_recurrent"} <= set(tags["images"])
    assert sum(tag.startswith("weights_alpha/recurrent/") for tag in tags["scalars"]) == 3 * 5
    # there are no skip connections to count
    assert not [tag for tag in tags["scalars"] if "skips" in tag]


@final
class ManyCells(SupernetFactory):
    """Cells that are all searched apart, as many as a test wants."""

    def __init__(self, count: int = 6) -> None:
        self.count = count

    @property
    def space(self) -> SearchSpace:
        edges = (Edge(0, 2), Edge(1, 2))
        primitives = ("none", "skip_connect")
        cells = (Cell(f"cell_{i}", 2, edges, primitives) for i in range(self.count))
        return SearchSpace("many", tuple(cells), 2, frozenset({"skip_connect"}))

    def build(
        self,
        data_spec: Mapping[str, int],
        k: int,
        auxiliary: bool = False,
        execution: CellExecution | None = None,
    ) -> "Many":
        return Many(data_spec)


class Many(Supernet):
    """A linear network that only pretends to have cells."""

    def __init__(self, data_spec: Mapping[str, int]) -> None:
        super().__init__()
        self.head = nn.Linear(data_spec["in_channels"], data_spec["num_classes"])

    def forward(self, x: Tensor, mixing: Mixing) -> Tensor:
        scale = torch.stack([ops[:, 1].sum() for ops in mixing.ops.values()]).sum()
        result: Tensor = self.head(scale * x.mean((2, 3)))
        return result


def test_many_kinds_of_cells_are_shown_in_short(
    make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    module = SearchModule(SPEC, ManyCells(), strategies=[EdgeNormalization()])
    loggers = [TensorBoardLogger(tmp_path, name="", version=""), CSVLogger(tmp_path, name="csv")]
    trainer = make_trainer(max_epochs=3, logger=loggers, callbacks=[SearchMonitor()])
    trainer.fit(module, datamodule=search_data)
    assert len(json.loads((tmp_path / "genotype.json").read_text())["cells"]) == 6
    board = board_of(tmp_path)
    tags = board.Tags()
    assert not [tag for tag in tags["scalars"] if "alpha/" in tag or "beta/" in tag]
    assert {"search/entropy_cell_0", "search/skips_cell_5"} <= set(tags["scalars"])
    assert board.Scalars("search/skips")[-1].value == 12  # two in each: all but `none`
    assert len(board.Images("overview/picture_cells")) == 1  # they never change
    assert len(board.Images("weights/operations_cell_3")) == 1
    assert len(board.Images("weights/edges_cell_3")) == 1
