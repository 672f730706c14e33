"""Checks that a checkpoint fits the module and the run that load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nas_lightning.errors import CheckpointMismatchError
from nas_lightning.training.checkpoints import KEY
from nas_lightning.training.comparison import (
    Parts,
    changed_optimizer,
    changed_part,
    changed_size,
    changed_tensor,
    earlier_record,
)
from nas_lightning.training.soundness import check_finite

KEEP = (
    "keep what it was to resume the run, or start a new one by another --run_dir and without "
    "--ckpt_path"
)
"""Advice for a run that does not fit its checkpoint."""


def check(
    checkpoint: Mapping[str, Any],
    kind: str,
    space: str,
    module: nn.Module,
    parts: Parts | None = None,
) -> None:
    """Check that a checkpoint has this kind and space and fits the module's tensors.

    Args:
        checkpoint: The checkpoint.
        kind: Kind of run.
        space: Name of the search space.
        module: The module.
        parts: Parts of the run that resumes from it, see `nas_lightning.training.comparison`.

    Raises:
        CheckpointMismatchError: It does not fit. The message says what differs.
        CheckpointError: A value in it is nan or infinite.
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
    if parts is not None:
        check_parts(checkpoint, parts)
    if tensor := changed_tensor(module, checkpoint["state_dict"]):
        mine = getattr(module, "hparams", {})
        size = changed_size(checkpoint.get("hyper_parameters", {}), mine)
        raise CheckpointMismatchError(
            f"the checkpoint is for another network: {size or f'{tensor} differs'}; use the "
            f"config.yaml of the checkpoint's run directory"
        )
    check_finite(checkpoint, module)


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
