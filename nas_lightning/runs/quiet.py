"""Warnings that a user of the command line can do nothing about."""

from __future__ import annotations

import logging
import warnings

LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")
"""Loggers that print advertisements."""

MESSAGES = (
    ".*does not have many workers.*",  # small data in memory needs none
    "The `srun` command is available.*",  # we look for it ourselves, and report if it is missing
    ".*recommended to use `self.log.*sync_dist=True.*",  # α, β: equal in all processes
    ".*is smaller than the logging interval.*",  # we log by epoch
    ".*treespec.*is deprecated.*",  # Lightning 2.6 on torch 2.15
    ".*args parameter is intended to run from within Python.*",  # we pass argv on purpose
    ".*will override existing callbacks.*",
    ".*exists and is not empty.*",  # checkpoints/ of a resumed run
    ".*Total length of `list` across ranks is zero.*",  # val_fraction 0 is meant
)
"""Patterns of the warnings."""


def quiet() -> None:
    """Silence these warnings and advertisements."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
