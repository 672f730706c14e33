"""Configurations and SLURM scripts that come with the package, and the search for one by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from nas_lightning.errors import UsageError
from nas_lightning.files import write_text
from nas_lightning.text_files import user_path


def config_folder() -> Path:
    """Return the folder of the shipped configurations: in the wheel, or next to the source tree."""
    inside = Path(str(resources.files("nas_lightning"))) / "configs"
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def shipped() -> dict[str, Path]:
    """Return the shipped configurations by file name."""
    return {path.name: path for path in sorted(config_folder().glob("*.yaml"))}


def overlays() -> dict[str, Path]:
    """Return the shipped methods and spaces by `methods/NAME.yaml` and `spaces/NAME.yaml`.

    A method is given after the configuration of a search, and a space after both.
    """
    folders = [config_folder() / name for name in ("methods", "spaces")]
    files = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    return {f"{path.parent.name}/{path.name}": path for path in files}


def scripts() -> dict[str, Path]:
    """Return the shipped SLURM scripts by `slurm/NAME.sbatch`."""
    return {f"slurm/{path.name}": path for path in sorted(config_folder().glob("slurm/*.sbatch"))}


def summary(path: Path) -> str:
    """Return the first comment line of a configuration or script."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if not line.startswith("#!")).removeprefix("#").strip()


def find_config(name: str) -> Path:
    """Find a configuration: a file of the user, else a shipped one; `.yaml` may be left out.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    given = user_path(name, "--config")
    with_ending = Path(f"{given}.yaml")
    if given.is_dir() and not with_ending.is_file():
        raise UsageError(f"--config {given} is a folder: name a configuration in it")
    for path in (given, with_ending):
        if path.is_file():
            return path
    near = [path.name for path in Path().glob("*.yaml")]
    return _find((name, f"{name}.yaml"), {**shipped(), **overlays()}, near)


def find_shipped(name: str) -> Path:
    """Find a shipped configuration, method, space or script.

    Its ending `.yaml` or `.sbatch`, and `slurm/`, may be left out.

    Args:
        name: Its name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    script = f"slurm/{Path(name).stem}.sbatch"
    known = {**shipped(), **overlays(), **scripts()}
    return _find((name, f"{name}.yaml", script), known, ())


def _find(names: tuple[str, ...], known: dict[str, Path], near: Iterable[str]) -> Path:
    """Return the path of the first name that is known."""
    for name in names:
        if name in known:
            return known[name]
    close = difflib.get_close_matches(Path(names[0]).name, [*near, *known], 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UsageError(f"no configuration {names[0]!r}; {hint}`nas configs` lists those of nas")


def copy_config(name: str, folder: Path) -> Path:
    """Copy a shipped configuration or script to a folder of the user.

    Raises:
        UsageError: There is no such configuration, or the file exists already.
    """
    source = find_shipped(name)
    target = folder / source.name
    if target.exists():
        raise UsageError(f"{target} exists already: remove it, or choose another folder")
    write_text(target, source.read_text(encoding="utf-8"))
    return target
