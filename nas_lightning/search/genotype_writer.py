"""Write the genotype of a search to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import final

from lightning import Callback, LightningModule, Trainer

from nas_lightning.architecture import Genotype

FILE = "genotype.json"
"""Name of the file."""


@final
class GenotypeWriter(Callback):
    """Write `genotype.json` at the end of each epoch.

    Every `SearchModule` has one, which it returns from `configure_callbacks`. The file is replaced
    in one step, by rank zero. Its provenance holds the seed and the folder, see `folder_of`.
    Nothing is written under `fast_dev_run`.

    The callback has no state, so checkpoints do not mention it.

    Args:
        genotype: Returns the genotype of the search; keyword arguments go to its provenance.
    """

    def __init__(self, genotype: Callable[..., Genotype]) -> None:
        self._genotype = genotype

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the genotype of the epoch."""
        if (folder := folder_of(trainer)) is None:
            return
        seed = os.environ.get("PL_GLOBAL_SEED")
        # on all ranks: the strategies choose, and may communicate
        found = self._genotype(seed=seed, run_dir=str(folder))
        if trainer.is_global_zero:
            found.save(folder / FILE)


def folder_of(trainer: Trainer) -> Path | None:
    """Return the folder that a trainer writes a genotype to.

    It is `default_root_dir`, which is the run directory in runs of the command line. A trainer
    that was not given one has the current folder there, where a later search would replace the
    file. The file then goes beside the folder `checkpoints`, such as `lightning_logs/version_0`,
    or into the folder of the logs. A trainer without checkpoints and logs writes no genotype.

    Returns:
        The folder, or `None` to write nothing.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined] # set by a connector
        return None
    root = Path(trainer.default_root_dir)
    if root != Path.cwd():
        return root
    for callback in trainer.checkpoint_callbacks:
        if dirpath := getattr(callback, "dirpath", None):
            place = Path(dirpath)
            return place.parent if place.name == "checkpoints" else place
    log_dir = trainer.log_dir if trainer.loggers else None
    return None if log_dir is None else Path(log_dir)
