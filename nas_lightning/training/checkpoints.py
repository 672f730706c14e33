"""Checkpoints: written whole, read without running code, and what they say of themselves."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from nas_lightning import __version__
from nas_lightning.errors import CheckpointError
from nas_lightning.files import replacing, sync

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
    """Read a checkpoint with `weights_only`, on the CPU, and check every byte of it.

    Raises:
        CheckpointError: It is missing, torn, damaged, or not a checkpoint of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            damaged = archive.testzip()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch guesses at what corrupt bytes could be
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except Exception as error:  # an unpickler may raise anything on any bytes
        # torch's own text advises to load it unsafely
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: its part {damaged} is not what was written")
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise CheckpointError(f"{path} is not a checkpoint of nas-lightning")
    return checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there, so that none is ever torn."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None
    ) -> None:
        """Replace a checkpoint file in one step.

        Raises:
            CheckpointError: It cannot be written; the one that stood there still does.
        """
        try:
            content = io.BytesIO()  # from memory: torch's own writer does not tell why it failed
            torch.save(checkpoint, content)
            with replacing(Path(path)) as temporary:
                temporary.write_bytes(content.getbuffer())
        except OSError as error:
            size = len(content.getbuffer()) / 2**20
            raise CheckpointError(
                f"cannot write the checkpoint {path} ({size:,.1f} MiB): {error.strerror}. What "
                f"stood there before still does: mend that, and the same command with --ckpt_path "
                f"auto goes on from it"
            ) from error


class Last:
    """The last two checkpoints of a run: `last.ckpt`, and `previous.ckpt` in case that is damaged.

    A new one is first written beside them (`prepare`) and takes its place later (`promote`), when
    all else of that moment, such as logs, is on the disk too.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.new = folder / "last.ckpt.new"
        self.last = folder / "last.ckpt"
        self.previous = folder / "previous.ckpt"

    def promote(self) -> None:
        """Make the new one the last, and the last the previous; at no time is there none."""
        if self.last.exists():
            link = self.previous.with_suffix(".link")
            link.unlink(missing_ok=True)
            try:
                link.hardlink_to(self.last)
            except OSError:  # a file system without links
                link = self.last
            link.replace(self.previous)
        self.new.replace(self.last)
        sync(self.last.parent)

    def newest(self) -> tuple[Path, CheckpointError | None] | None:
        """The newest one that can be read, and what is wrong with a newer one; none if none is.

        Raises:
            CheckpointError: There are some, and none can be read.
        """
        problem: CheckpointError | None = None
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                read_checkpoint(path)
            except CheckpointError as error:
                problem = problem or error
            else:
                return path, problem
        if problem is not None:
            raise problem
        return None
