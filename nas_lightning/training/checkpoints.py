"""Checkpoints that are written atomically, loaded without running code, and name their content."""

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
from torch.optim import Optimizer

from nas_lightning import __version__
from nas_lightning.errors import CheckpointError, CheckpointMismatchError
from nas_lightning.files import replacing, sync
from nas_lightning.training.comparison import (
    Parts,
    changed_optimizer,
    changed_part,
    changed_size,
    changed_tensor,
    earlier_record,
)

KEY = "nas_lightning"
"""Key of a checkpoint's description: its kind, space, version, data and parts."""

KEEP = (
    "keep what it was to resume the run, or start a new one by another --run_dir and without "
    "--ckpt_path"
)
"""Advice for a run that does not fit its checkpoint."""


def stamp(
    checkpoint: dict[str, Any],
    kind: str,
    space: str,
    data: Mapping[str, Any] | None = None,
    parts: Parts | None = None,
) -> None:
    """Write the kind of run, the search space and the version into a checkpoint.

    Args:
        checkpoint: The checkpoint.
        kind: Kind of run.
        space: Name of the search space.
        data: Meaning of inputs and outputs, see `nas_lightning.training.meaning`.
        parts: Parts of the run, see `nas_lightning.training.comparison`.
    """
    checkpoint[KEY] = {
        "kind": kind,
        "space": space,
        "version": __version__,
        "data": dict(data or {}),
        "parts": dict(parts or {}),
    }


def recorded_meaning(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the meaning of inputs and outputs that a checkpoint records.

    Returns:
        The entries of the data module's `data_spec` and `meaning`, and its `class_names`, as far as
        it had them; empty for a checkpoint of an earlier release.
    """
    found = checkpoint.get(KEY, {}).get("data", {})
    return dict(found) if isinstance(found, Mapping) else {}


def check(checkpoint: Mapping[str, Any], kind: str, space: str, module: nn.Module) -> None:
    """Check that a checkpoint has this kind and space and fits the module's tensors.

    Raises:
        CheckpointMismatchError: It does not fit. The message says what differs.
    """
    found = checkpoint.get(KEY)
    if found is None:
        raise CheckpointMismatchError(
            f"the checkpoint is from another program: use one of a {kind} run"
        )
    if found["kind"] != kind:
        raise CheckpointMismatchError(
            f"the checkpoint is from a {found['kind']} run: use one of a {kind} run"
        )
    if found["space"] != space:
        raise CheckpointMismatchError(
            f"the checkpoint is for the search space {found['space']!r}: use one for {space!r}"
        )
    if tensor := changed_tensor(module, checkpoint["state_dict"]):
        mine = getattr(module, "hparams", {})
        size = changed_size(checkpoint.get("hyper_parameters", {}), mine)
        raise CheckpointMismatchError(
            f"the checkpoint is for another network: {size or f'{tensor} differs'}; use the "
            f"config.yaml of the checkpoint's run directory"
        )


def check_parts(checkpoint: Mapping[str, Any], now: Parts) -> None:
    """Check that the recorded parts of a run are those that load a checkpoint.

    Args:
        checkpoint: The checkpoint.
        now: The parts of the run that loads it, or those of them that must agree.

    Raises:
        CheckpointMismatchError: One differs. The message names the setting and both values.
    """
    before = checkpoint[KEY].get("parts") or earlier_record(checkpoint.get("hyper_parameters", {}))
    if changed := changed_part(before, now):
        raise CheckpointMismatchError(f"{changed}: {KEEP}")


def check_optimizers(checkpoint: Mapping[str, Any], optimizers: Mapping[str, Optimizer]) -> None:
    """Check that the optimizers of a run can continue from a checkpoint.

    Args:
        checkpoint: The checkpoint.
        optimizers: Optimizers before their first step, by the setting that names them.

    Raises:
        CheckpointMismatchError: One cannot, or the checkpoint has only weights.
    """
    states = checkpoint.get("optimizer_states")
    if states is None:
        raise CheckpointMismatchError(
            "the checkpoint has only weights (checkpoint.save_weights_only), so no run can resume "
            "from it: resume from last.ckpt by --ckpt_path last"
        )
    for (name, optimizer), state in zip(optimizers.items(), states, strict=False):
        if reason := changed_optimizer(state, optimizer):
            kind = type(optimizer).__name__
            raise CheckpointMismatchError(f"the checkpoint {reason} than {name} {kind}: {KEEP}")


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Load a checkpoint with `weights_only` onto the CPU and verify its checksums.

    Raises:
        CheckpointError: It is missing, truncated, damaged or from another program.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not verify checksums
            damaged = archive.testzip()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about corrupt bytes
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except Exception as error:  # an unpickler may raise anything on any bytes
        # torch's own message advises unsafe loading
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} does not match")
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise CheckpointError(f"{path} is not a checkpoint of nas-lightning")
    return checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints atomically, so that a crash never leaves half a file."""

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

    def newest(self) -> tuple[Path, CheckpointError | None] | None:
        """Return the newest readable checkpoint and the error of a newer, unreadable one.

        Returns:
            Path and error (`None` if the newest is readable), or `None` without any checkpoint.

        Raises:
            CheckpointError: There are checkpoints, but none can be read.
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
