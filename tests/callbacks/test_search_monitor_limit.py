"""The number of kinds of cells up to which a search is shown in full."""

from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

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
    single = [name for name in trainer.logged_metrics if name.startswith("alpha/")]
    assert bool(single) == shown
    assert ("search/skips" in trainer.logged_metrics) == (not shown)
