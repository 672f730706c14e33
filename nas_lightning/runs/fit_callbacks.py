"""The callbacks that every fit of the command line has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor

from nas_lightning.callbacks import GracefulStop, LostProcess, RanksAgree
from nas_lightning.callbacks.cell_agreement import CellAgreement
from nas_lightning.callbacks.search_monitor import SearchMonitor
from nas_lightning.runs.board import ShowSettings, flat_settings
from nas_lightning.runs.fingerprint import config_hash
from nas_lightning.runs.next_steps import resume_command
from nas_lightning.runs.record import RunRecord
from nas_lightning.runs.save_config import SaveConfig
from nas_lightning.search import SearchModule
from nas_lightning.slurm.job import active_job


def fit_callbacks(
    trainer: Trainer, model: LightningModule, config: Mapping[str, Any], saving: SaveConfig
) -> list[Callback]:
    """Return the callbacks of a fit, in the order in which they are called.

    Args:
        trainer: The trainer, with its loggers.
        model: The module.
        config: The configuration of the run as plain data.
        saving: Saves the configuration.
    """
    run_dir, job = Path(config["run_dir"]), active_job()
    record = RunRecord(
        run_dir, config_hash(config), saving.start.checkpoint, None if job is None else job.id
    )
    found: list[Callback] = [
        RanksAgree(),  # before anything is written
        saving,  # opens the loggers
        ShowSettings(flat_settings(config)),
        record,
        LostProcess(),
        GracefulStop(job, resume_command(run_dir)),
    ]
    if isinstance(model, SearchModule):
        found.append(SearchMonitor(config["pictures"], config["curves"]))
        found.append(CellAgreement())
    if trainer.loggers:
        found.append(LearningRateMonitor(logging_interval="epoch"))
    return found
