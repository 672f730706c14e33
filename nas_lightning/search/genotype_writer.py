"""Write the genotype of a search to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import final

from lightning import Callback, LightningModule, Trainer

from nas_lightning.architecture import Genotype

FILE = "genotype.json"
"""Name of the file, in the trainer's `default_root_dir`."""


@final
class GenotypeWriter(Callback):
    """Write `genotype.json` into the trainer's `default_root_dir` at the end of each epoch.

    Every `SearchModule` has one, which it returns from `configure_callbacks`. The file is replaced
    in one step, by rank zero. Its provenance holds the seed and the folder. A later search in the
    same folder replaces it, so give each search a `default_root_dir` of its own; in runs of the
    command line it is the run directory.

    Nothing is written under `fast_dev_run`, nor by a trainer that writes nothing else: one without
    loggers and checkpoints whose `default_root_dir` is the current folder, which is the default.

    The callback has no state, so checkpoints do not mention it.

    Args:
        genotype: Returns the genotype of the search; keyword arguments go to its provenance.
    """

    def __init__(self, genotype: Callable[..., Genotype]) -> None:
        self._genotype = genotype

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the genotype of the epoch."""
        if not writes(trainer):
            return
        folder = Path(trainer.default_root_dir)
        seed = os.environ.get("PL_GLOBAL_SEED")
        found = self._genotype(seed=seed, run_dir=str(folder))  # on all ranks, as strategies choose
        if trainer.is_global_zero:
            found.save(folder / FILE)


def writes(trainer: Trainer) -> bool:
    """Return True if a trainer was told to write files."""
    if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
        return False
    if trainer.loggers or trainer.checkpoint_callbacks:
        return True
    return Path(trainer.default_root_dir) != Path.cwd()
