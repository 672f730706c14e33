"""Warnings of the command line: which are left out, and the form of our own."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

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
    ".*You are trying to .*barebones=True.*",  # barebones means that nothing is logged
    ".*callbacks used to create the checkpoint need to be provided.*",  # we say so ourselves
    ".*Total length of `list` across ranks is zero.*",  # val_fraction 0 is meant
)
"""Patterns of the warnings."""


PACKAGE = Path(__file__).parents[1]


def quiet() -> None:
    """Silence these warnings and advertisements, and print our own as `nas: warning: …`."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    if warnings.formatwarning is not _formatted:
        _other.append(warnings.formatwarning)
        warnings.formatwarning = _formatted


_other = [warnings.formatwarning]
"""The form of warnings of other packages, last."""


def _formatted(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    if PACKAGE in Path(filename).parents:
        return f"nas: warning: {message}\n"
    return _other[-1](message, category, filename, lineno, line)
