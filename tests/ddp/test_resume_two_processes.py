"""Two processes that are stopped within an epoch end as two that were not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from nas_lightning.callbacks import RunCheckpoint
from nas_lightning.runs.metrics import read_metrics
from nas_lightning.runs.record import RunRecord
from tests.conftest import quiet_trainer
from tests.processes import run_two_processes
from tests.search.test_recurrent_search import data, search


def fit(folder: Path, epochs: int, batches: int, resume: Path | None = None) -> Any:
    """A recurrent search, whose hidden states and dropout differ between the processes."""
    part = CSVLogger(folder, name="csv", version="fit-2" if resume else "fit")
    trainer = quiet_trainer(
        devices=2,
        strategy="ddp",
        max_epochs=epochs,
        limit_train_batches=batches,
        log_every_n_steps=1,
        logger=part,
        enable_checkpointing=True,
        callbacks=[
            RunRecord(folder, "", resume),
            RunCheckpoint(folder, every_batches=3, save_top_k=0),
        ],
    )
    module = search()
    trainer.fit(module, datamodule=data(), ckpt_path=resume, weights_only=True)
    return module, trainer


def stopped_and_not(folder: Path) -> None:
    """What each of the two processes does."""
    whole, trainer = fit(folder / "whole", epochs=2, batches=5)
    fit(folder / "cut", epochs=1, batches=5)  # its last checkpoint but one: after batch 3
    trainer.strategy.barrier()
    saved = torch.load(folder / "cut" / "previous.ckpt", weights_only=True)
    again, _ = fit(folder / "cut", 2, 5, resume=folder / "cut" / "previous.ckpt")
    rank = trainer.global_rank
    state = {"whole": whole.state_dict(), "again": again.state_dict()}
    carried = {"whole": whole.streams.carried, "again": again.streams.carried}
    found = {"state": state, "carried": carried, "saved": saved["stage_state"]["streams"]}
    torch.save(found, folder / f"{rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_hidden_states_and_metrics_of_every_process_go_on(tmp_path: Path) -> None:
    run_two_processes("tests.ddp.test_resume_two_processes", "stopped_and_not", tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for rank in ranks:
        for name, value in rank["state"]["whole"].items():
            assert torch.equal(value, rank["state"]["again"][name]), name
        for name, value in rank["carried"]["whole"].items():
            assert torch.equal(value, rank["carried"]["again"][name]), name
    hidden = [rank["carried"]["whole"]["weight"] for rank in ranks]
    assert not torch.equal(*hidden)  # else one process's states would do for both
    assert len(ranks[0]["saved"]) == 2  # written within the epoch, by both
    rows = read_metrics(tmp_path / "whole")
    assert rows == read_metrics(tmp_path / "cut")
    assert sum("search/train_loss_step" in row for row in rows) == 10
