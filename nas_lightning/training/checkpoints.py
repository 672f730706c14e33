"""Checkpoints that are written atomically, loaded without running code, and name their content."""

from __future__ import annotations

import errno
import io
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from nas_lightning import __version__
from nas_lightning.errors import (
    CheckpointError,
    CheckpointUnreadableError,
    NoCheckpointError,
)
from nas_lightning.files import open_ordinary, replacing, sync
from nas_lightning.training.checkpoint_content import check_content
from nas_lightning.training.comparison import (
    Parts,
)

KEY = "nas_lightning"
"""Key of a checkpoint's description: its kind, space, version, data and parts."""

NO_MEMORY = os.strerror(errno.ENOMEM)


HANDED_OVER = ".temp.ckpt"
"""File in which Lightning hands the weights of forked processes to the first process."""


def stamp(
    checkpoint: dict[str, Any],
    kind: str,
    space: str,
    data: Mapping[str, Any] | None = None,
    parts: Parts | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Write the kind of run, the search space and the version into a checkpoint.

    Args:
        checkpoint: The checkpoint.
        kind: Kind of run.
        space: Name of the search space.
        data: Meaning of inputs and outputs, see `nas_lightning.training.meaning`.
        parts: Parts of the run, see `nas_lightning.training.comparison`.
        preprocessing: Steps from an image file to an input, as plain data, if the data has any.
    """
    checkpoint[KEY] = {
        "kind": kind,
        "space": space,
        "version": __version__,
        "data": dict(data or {}),
        "parts": dict(parts or {}),
        "preprocessing": None if preprocessing is None else dict(preprocessing),
    }


def recorded_meaning(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the meaning of inputs and outputs that a checkpoint records.

    Returns:
        The entries of the data module's `data_spec` and `meaning`, and its `class_names`, as far as
        it had them; empty for a checkpoint of an earlier release.
    """
    found = checkpoint.get(KEY, {}).get("data", {})
    return dict(found) if isinstance(found, Mapping) else {}


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Load a checkpoint with `weights_only` onto the CPU and verify its checksums.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: It was read, and is truncated, damaged or from another program.
        CheckpointUnreadableError: The system could not read it; its content may be whole.
    """
    content = io.BytesIO(_bytes(Path(path)))
    try:
        with zipfile.ZipFile(content) as archive:  # torch does not verify checksums
            damaged = archive.testzip()
    except Exception as error:  # of many classes, on arbitrary bytes
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} does not match")
    content.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about corrupt bytes
            checkpoint = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler may raise anything on any bytes
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise CheckpointUnreadableError(_unreadable(path, NO_MEMORY)) from error
        # torch's own message advises unsafe loading
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from error
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise CheckpointError(f"{path} is not a checkpoint of nas-lightning")
    check_content(checkpoint, path, KEY)
    return checkpoint


def _bytes(path: Path) -> bytes:
    """Return the content of an ordinary file.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointUnreadableError: The system could not read it.
    """
    try:
        with open_ordinary(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise NoCheckpointError(f"there is no checkpoint {path}") from error
    except MemoryError as error:
        raise CheckpointUnreadableError(_unreadable(path, NO_MEMORY)) from error
    except OSError as error:
        raise CheckpointUnreadableError(_unreadable(path, error.strerror)) from error


def _unreadable(path: Path | str, reason: str | None) -> str:
    return (
        f"cannot read the checkpoint {path}: {reason or 'the system refused'}; nothing was "
        f"changed: start again with the same command once it can be read"
    )


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically, so that a crash never leaves half a file.

    Args:
        read: Content of checkpoints that were read already, by path; each is handed out once.
    """

    def __init__(self, read: Mapping[Path, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._read = dict(read or {})

    def load_checkpoint(self, path: Path | str, *_: object, **__: object) -> dict[str, Any]:
        """Return the content of a checkpoint, on the CPU.

        Raises:
            CheckpointError: It is missing, damaged or from another program.
            CheckpointUnreadableError: The system could not read it.
        """
        if Path(path).name == HANDED_OVER:
            found: dict[str, Any] = super().load_checkpoint(path, weights_only=True)
            return found
        return self._read.pop(Path(path), None) or read_checkpoint(path)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint file, or replace it, atomically.

        Raises:
            CheckpointError: It cannot be written. A previous file at `path` is unchanged.
        """
        try:
            content = io.BytesIO()  # in memory: torch's own writer hides why it failed
            torch.save(checkpoint, content)
            with replacing(Path(path)) as temporary:
                temporary.write_bytes(content.getbuffer())
        except OSError as error:
            size = len(content.getbuffer()) / 2**20
            raise CheckpointError(
                f"cannot write the checkpoint {path} ({size:,.1f} MiB): {error.strerror}. The "
                f"previous checkpoint is intact: fix the cause, then resume from it with the same "
                f"command and --ckpt_path auto"
            ) from error


class Last:
    """The last two checkpoints of a run: `last.ckpt`, and `previous.ckpt` as its backup.

    A new checkpoint is first written to `last.ckpt.new`. `promote` renames it once the other
    files of that moment, such as logs, are on the disk too.

    Args:
        folder: Folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.new = folder / "last.ckpt.new"
        self.last = folder / "last.ckpt"
        self.previous = folder / "previous.ckpt"

    def promote(self) -> None:
        """Make the new checkpoint the last, and the last the previous; one always exists."""
        if self.last.exists():
            link = self.previous.with_suffix(".link")
            link.unlink(missing_ok=True)
            try:
                link.hardlink_to(self.last)
            except OSError:  # the file system has no hard links
                link = self.last
            link.replace(self.previous)
        self.new.replace(self.last)
        sync(self.last.parent)

    def newest(self) -> tuple[Path, dict[str, Any], CheckpointError | None] | None:
        """Return the newest whole checkpoint and the error of a newer, damaged one.

        Returns:
            Path, content and error (`None` if the newest is whole), or `None` without any
            checkpoint.

        Raises:
            CheckpointError: There are checkpoints, but all are damaged.
            CheckpointUnreadableError: The system could not read one, which may be whole.
        """
        problem: CheckpointError | None = None
        for path in (self.last, self.previous):
            try:
                return path, read_checkpoint(path), problem
            except NoCheckpointError:
                continue
            except CheckpointError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return None
