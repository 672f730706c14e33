"""The commit of a folder, found without running anything that its repository names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "protocol.allow": "never",  # a partial clone would fetch missing objects
    "safe.bareRepository": "explicit",  # a folder that only looks like git's own
}
"""Settings that win over those of the repository: its programs do not run."""


def git_revision(folder: Path) -> str | None:
    """Return the commit that is checked out around a folder.

    A repository's own configuration can name programs, such as hooks, file system monitors and
    filters of file contents. None of them runs. A file that a filter changes may therefore count
    as one that differs.

    Returns:
        The hash, followed by `+` if files differ from the commit and by `?` if that cannot be
        found out; `None` outside a checkout, before its first commit, or without git.
    """
    try:
        commit = _git(folder, SETTINGS, "rev-parse", "--verify", "--quiet", "HEAD")
        if not commit:
            return None
        filters = _without_filters(folder)
        # submodules have a configuration of their own
        changes = filters is not None and _git(
            folder, SETTINGS | filters, "status", "--porcelain", "--untracked-files=no",
            "--ignore-submodules=all", "--no-renames",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if changes in (None, False):
        return f"{commit}?"
    return f"{commit}+" if changes else commit


def _without_filters(folder: Path) -> dict[str, str] | None:
    """Return settings that switch off every filter that the repository's configuration names.

    Returns:
        `None` if a name cannot be given on the command line.
    """
    # git fails if there are none
    found = _git(folder, SETTINGS, "config", "--null", "--name-only", "--get-regexp", r"^filter\.")
    names = {key.rpartition(".")[0] for key in (found or "").split("\0") if key}
    if any("=" in name for name in names):
        return None
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{name}.{key}": value for name in names for key, value in off.items()}


def _git(folder: Path, settings: Mapping[str, str], *words: str) -> str | None:
    """Return what a git command prints, or `None` if it fails."""
    given = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    # optional locks: a written index would call a hook
    safe = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        ["git", "-C", str(folder), *given, *words],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=10,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | safe,
    )
    return done.stdout.strip("\n") if done.returncode == 0 else None
