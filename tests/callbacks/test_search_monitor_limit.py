"""The monitor shows less of a search with many kinds of cells, and some pictures less often."""

from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure

from nas_lightning.architecture import Genotype
from nas_lightning.callbacks import search_monitor
from nas_lightning.callbacks.search_monitor import SearchMonitor
from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsSupernet
from tests.conftest import SPEC, TrainerFactory


@pytest.mark.parametrize(("kinds", "shown"), [(4, True), (5, False)])
def test_single_parameters_are_shown_of_four_kinds_of_cells(
    kinds: int, shown: bool, make_trainer: TrainerFactory, search_data: Synthetic, tmp_path: Path
) -> None:
    supernet = DartsSupernet(
        4, kinds, nodes=1, individual=True, primitives=("none", "skip_connect")
    )
    module = SearchModule(SPEC, supernet)
    assert len(module.space.cells) == kinds
    trainer = make_trainer(
        logger=CSVLogger(tmp_path), callbacks=[SearchMonitor()],
        limit_train_batches=1, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=search_data)
    table = next(tmp_path.rglob("metrics.csv")).read_text(encoding="utf-8")
    assert ("alpha/" in table) == shown
    # the progress bar shows them by kind, or of many kinds the sum
    assert ("search/skips" in trainer.progress_bar_metrics) == (not shown)
    assert ("search/skips_layer_00_normal" in trainer.progress_bar_metrics) == shown


@pytest.mark.parametrize(("kinds", "cells", "heat_maps"), [(4, [*range(8)], [0, 5, 7]),
                                                          (5, [0, 5, 7], [7])])  # fmt: skip
def test_pictures_of_many_cells_are_fewer(
    kinds: int,
    cells: list[int],
    heat_maps: list[int],
    make_trainer: TrainerFactory,
    search_data: Synthetic,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first epoch, every fifth after it, and the last; cells only if they have changed."""
    drawn: dict[str, list[int]] = {"draw_genotype": [], "draw_weights": []}

    def draw(name: str) -> Any:
        def figure(*_: object, **__: object) -> Figure:
            drawn[name].append(trainer.current_epoch)
            return Figure((1, 1))

        return figure

    for name in drawn:
        monkeypatch.setattr(search_monitor, name, draw(name))
    supernet = DartsSupernet(
        4, kinds, nodes=1, individual=True, primitives=("none", "skip_connect")
    )
    trainer = make_trainer(
        max_epochs=8, logger=TensorBoardLogger(tmp_path), callbacks=[SearchMonitor()],
        limit_train_batches=1, limit_val_batches=0,
    )  # fmt: skip
    genotypes: list[Genotype] = []

    class Keep(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert isinstance(pl_module, SearchModule)
            genotypes.append(pl_module.genotype())

    trainer.callbacks.append(Keep())  # type: ignore[attr-defined] # set by a connector
    trainer.fit(SearchModule(SPEC, supernet), datamodule=search_data)
    changed, shown = [], None
    for epoch in cells:
        if genotypes[epoch] != shown:
            changed.append(epoch)
            shown = genotypes[epoch]
    assert 0 < len(changed) < len(genotypes)
    assert drawn["draw_genotype"] == changed
    assert sorted(set(drawn["draw_weights"])) == heat_maps
