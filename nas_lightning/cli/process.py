"""The process that runs a command: its working folder and environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from nas_lightning.errors import NASError, UsageError
from nas_lightning.text import shown

NUMBERS = (
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_PORT", "JSM_NAMESPACE_RANK", "PL_GLOBAL_SEED"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NNODES"),
    *("SLURM_NTASKS_PER_NODE", "SLURM_RESTART_COUNT"),
)
"""Environment variables that hold whole numbers, which Lightning or we read."""
FROM_ONE = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES",
            "SLURM_NTASKS_PER_NODE")  # fmt: skip
"""Those that are at least 1."""


def check_process(environ: Mapping[str, str] = os.environ) -> None:
    """Check the working folder and the environment variables.

    Raises:
        NASError: The working folder was removed.
        UsageError: A variable that must hold a whole number does not.
    """
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd is this call)
    except OSError as error:
        raise NASError("the working folder was removed: change to another one") from error
    for name in NUMBERS:
        text = environ.get(name)
        least = int(name in FROM_ONE)
        if text is None or (text.isascii() and text.isdecimal() and least <= int(text[:19])):
            continue
        raise UsageError(
            f"the environment variable {name} is {shown(text)}: set it to a whole number of at "
            f"least {least}, or unset it"
        )
