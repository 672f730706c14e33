"""The module of a checkpoint, built again from what the checkpoint records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from nas_lightning.errors import CheckpointError, NASError, NoCheckpointError, UsageError
from nas_lightning.files import is_there
from nas_lightning.runs.directory import CHECKPOINTS, KEYWORDS
from nas_lightning.runs.failures import links
from nas_lightning.runs.messages import TYPES
from nas_lightning.training.stage import Stage

S = TypeVar("S", bound=Stage)


def rebuilt(kind: type[S], file: Path) -> S:
    """Build the module of a checkpoint on the CPU and load its weights.

    Args:
        kind: Class of the module.
        file: The checkpoint.

    Raises:
        CheckpointError: No module can be built from it; names the place.
        UsageError: An operation or a space of it cannot be imported.
    """
    try:
        return kind.load_from_checkpoint(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # of many classes, on arbitrary content
        own = next((link for link in links(error) if "cannot import" in str(link)), None)
        if isinstance(own, NASError):
            raise UsageError(f"{file}: {own}") from error
        raise CheckpointError(f"{file} is not valid: at {_reason(str(error))}") from error


def checkpoint_of(source: Path) -> Path:
    """Return a checkpoint, or that of a run directory: its best, else its last.

    Raises:
        NoCheckpointError: There is nothing.
        UsageError: The run directory holds no checkpoint.
    """
    if not is_there(source):
        raise NoCheckpointError(f"there is no run directory or checkpoint {source}")
    if not source.is_dir():
        return source
    for name in reversed(KEYWORDS):
        if is_there(file := source / CHECKPOINTS / f"{name}.ckpt"):
            return file
    raise UsageError(f"{source} holds no {CHECKPOINTS}/last.ckpt: name the directory of a run")


def _reason(text: str) -> str:
    """Return the place in a checkpoint at which a module cannot be built, and the reason."""
    if "loading state_dict" in text:
        return "$.state_dict: the tensors are not those of the module"
    keys = [key.removeprefix("module.") for key in re.findall(r'Parser key "([^"]+)"', text)]
    place = ".".join(["$.hyper_parameters", *keys])
    found = re.search(r"Expected a <class '(\w+)'>", text)
    wanted = TYPES.get(found[1]) if found else None
    return f"{place}: " + (f"expected {wanted}" if wanted else "no module can be built from it")
