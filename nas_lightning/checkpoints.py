"""Checkpoints: what they say of themselves, and reading them without running code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_lightning import __version__
from nas_lightning.errors import CheckpointError

KEY = "nas_lightning"
"""Where a checkpoint says what it is: `{"kind": "search", "space": …, "version": …}`."""


def stamp(checkpoint: dict[str, Any], kind: str, space: str) -> None:
    """Write into a checkpoint what it is of."""
    checkpoint[KEY] = {"kind": kind, "space": space, "version": __version__}


def check(checkpoint: Mapping[str, Any], kind: str, space: str, module: nn.Module) -> None:
    """Check that a checkpoint is of that kind and space and fits the module's tensors.

    Raises:
        CheckpointError: It does not; says what differs.
    """
    found = checkpoint.get(KEY, {"kind": "run of another program", "space": space})
    if found["kind"] != kind:
        raise CheckpointError(f"the checkpoint is of a {found['kind']}; a {kind}'s is wanted")
    if found["space"] != space:
        raise CheckpointError(
            f"the checkpoint is of search space {found['space']!r}; {space!r} is wanted"
        )
    mine, theirs = module.state_dict(), checkpoint["state_dict"]
    for name in (*mine, *theirs):
        if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape:
            raise CheckpointError(
                f"the checkpoint is of another network: {name} differs; run it with the "
                f"config.yaml of its own run directory"
            )


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint with `weights_only`, on the CPU.

    Raises:
        CheckpointError: It is missing, truncated, or not a checkpoint of ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch guesses at what corrupt bytes could be
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except Exception as error:  # an unpickler may raise anything on any bytes
        # torch's own text advises to load it unsafely
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise CheckpointError(f"{path} is not a checkpoint of nas-lightning")
    return checkpoint
