"""What of a configuration makes a run what it is, and what differs between two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# where a run lies and from where it goes on: not what it is
PLACES = ("run_dir", "ckpt_path", "weights_only", "trainer.default_root_dir", "checkpoint.dirpath")


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of a configuration by its dotted key, less those that only say where it lies."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif prefix not in PLACES:
            found[prefix] = value

    walk("", config)
    return found


def config_hash(config: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that are the same for runs of the same settings."""
    text = json.dumps(flat(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that differ, a line each."""
    one, two = flat(before), flat(now)
    return [
        f"{key}: {one.get(key)} before, {two.get(key)} now"
        for key in dict.fromkeys((*one, *two))
        if one.get(key) != two.get(key)
    ]
