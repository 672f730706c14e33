"""Advice when the memory runs out: the settings that need it, with their values."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from nas_lightning.runs.fingerprint import flat

SIZES = ("batch_size", "channels", "hidden", "layers", "cells", "image_size", "bptt")
"""Settings that memory grows with; those that cost least to lower come first."""
HUNGRY = ("Unrolled", "AmendedGradient", "Neumann")
"""Strategies whose architecture gradient needs more memory than one of first order."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an allocation failed: on a GPU, in PyTorch, in Python or in the system."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, (RuntimeError, OSError)) and bool(
        re.search(r"out of memory|[Cc]an(no|')t allocate memory|_ALLOC_FAILED|bad_alloc", text)
    )


def lower(config: Mapping[str, Any]) -> str:
    """Return advice such as `lower data.batch_size (256) or model.supernet.channels (16)`.

    Args:
        config: Configuration of the run; may be empty.
    """
    values = {key.replace(".init_args", ""): value for key, value in flat(config).items()}
    sizes = [
        f"{key} ({value})"
        for name in SIZES
        for key, value in values.items()
        if key.startswith(("data.", "model.")) and key.endswith(f".{name}") and value is not None
    ]
    hints = [f"lower {_listed(sizes or ['the batch size'])}"]
    strategies = dict(_strategies(values.get("model.strategies")))
    if "PartialChannels" in strategies:
        hints.append(f"raise k of PartialChannels ({strategies['PartialChannels'].get('k')})")
    elif strategies or "model.strategies" in values:
        hints.append("add PartialChannels to model.strategies")
    for name in HUNGRY:
        if name in strategies:
            exact = strategies[name].get("exact")
            hints.append(f"set exact of {name} to false" if exact else f"leave out {name}")
    return _listed(hints)


def peak() -> str:
    """Describe the peak memory of this process, and the memory of its device."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        device = torch.cuda.current_device()
        used, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
        return f"this process held at most {_gib(used)} of the {_gib(total)} of GPU {device}"
    import resource  # not on every system

    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"this process held at most {_gib(used)} of the {_gib(total)} of this machine"


def wanted(error: BaseException) -> str:
    """Return the size in an error, such as ` (18.6 GiB more were asked for)`, or an empty text."""
    text = str(error)
    if found := re.search(r"tried to allocate (\d+) bytes", text):
        return f" ({_gib(int(found[1]))} more were asked for)"
    if found := re.search(r"Tried to allocate ([\d.]+ \w+)", text):
        return f" ({found[1]} more were asked for)"
    return ""


def _strategies(given: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the arguments of each strategy of a configuration."""
    for item in given if isinstance(given, list) else ():
        if isinstance(item, Mapping):
            yield str(item.get("class_path")).rpartition(".")[2], item.get("init_args") or {}


def _listed(parts: list[str]) -> str:
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
