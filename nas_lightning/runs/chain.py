"""Chains: searches that follow each other, each with what the one before it kept.

The setting `chain` of the first search lists, for each search that follows, the settings that
differ from those of the search before it. The last strategy of each is `KeepOperations`, or another
one with an argument `genotype`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas_lightning.files import write_text
from nas_lightning.runs.directory import CONFIG
from nas_lightning.runs.dump import dump_plain
from nas_lightning.runs.next_steps import command

KEY = "chain"
NEXT = "next.yaml"
"""File in the run directory of a search with the settings of the one that follows."""
Links = Sequence[Mapping[str, Any]]
"""Settings of the searches that follow, each over those of the search before it."""


def link_texts(chain: Links) -> tuple[str, ...]:
    """Return configurations of the searches that follow, as `--config` takes them.

    Each is given after that of the search before it, and holds the rest of the chain.
    """
    links = [{**link, KEY: chain[number:]} for number, link in enumerate(chain, start=1)]
    return tuple(f"{json.dumps(link)}\n" for link in links)


def begins_from(run_dir: Path) -> list[str]:
    """Return the options by which a search begins from what another one kept.

    Args:
        run_dir: Run directory of the earlier search, or its genotype file.
    """
    return ["--model.strategies.genotype", str(run_dir)]


def next_command(run_dir: Path, chain: Links) -> str:
    """Return the command of the next search of a chain, and write its settings to `next.yaml`.

    Args:
        run_dir: Run directory of the search that has ended.
        chain: Its setting `chain`; not empty.
    """
    settings = {**chain[0], KEY: list(chain[1:])}
    head = "# The next search of the chain: its settings over those of config.yaml\n"
    write_text(run_dir / NEXT, head + dump_plain(settings))
    configs = ("--config", run_dir / CONFIG, "--config", run_dir / NEXT)
    return command("fit", *configs, *begins_from(run_dir), "--run_dir", _following(run_dir))


def _following(run_dir: Path) -> Path:
    """Return a run directory beside another one: `NAME_link_2`, then `NAME_link_3`."""
    found = re.fullmatch(r"(.*)_link_(\d+)", run_dir.name)
    name, number = (found[1], int(found[2])) if found else (run_dir.name, 1)
    return run_dir.with_name(f"{name}_link_{number + 1}")
