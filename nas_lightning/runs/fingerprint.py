"""The settings that identify a run: their hash, and the differences between two runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

PLACES = (
    "run_dir", "ckpt_path", "weights_only", "trainer.default_root_dir", "checkpoint.dirpath",
    "curves", "chain",
)  # fmt: skip
"""Settings that do not identify a run: its place, the checkpoint it resumes from, curves of α, and
the searches after it."""

EARLIER = {
    "nas_lightning.training.schedules.": "nas_lightning.schedules.",
    **{
        f"nas_lightning.spaces.{name}Supernet": f"nas_lightning.supernet.{name}Supernet"
        for name in ("Darts", "NasBench201", "Recurrent", "Reconstruction")
    },
    **{
        f"nas_lightning.spaces.{name}Network": f"nas_lightning.retrain.{name}Network"
        for name in ("Darts", "NasBench201", "Recurrent", "Reconstruction")
    },
}
"""Import paths → those of release 0.1.0, whose runs and studies can still be resumed."""


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration by dotted key, without those in `PLACES`."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif prefix not in PLACES:
            found[prefix] = _earlier(value)

    walk("", config)
    return found


def _earlier(value: object) -> object:
    """Return the import path that release 0.1.0 gave to a class; other values as they are."""
    if isinstance(value, list):
        return [_earlier(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _earlier(item) for key, item in value.items()}
    if isinstance(value, str):
        for path, before in EARLIER.items():
            if value.startswith(path):
                return before + value.removeprefix(path)
    return value


def config_hash(config: Mapping[str, Any]) -> str:
    """Return sixteen hexadecimal digits that are equal for runs of equal settings."""
    text = json.dumps(flat(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ, one line each."""
    one, two = flat(before), flat(now)
    return [
        f"{key}: {one.get(key)} before, {two.get(key)} now"
        for key in dict.fromkeys((*one, *two))
        if one.get(key) != two.get(key)
    ]
