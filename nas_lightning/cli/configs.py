"""The configurations that come with the package, and finding one by its bare name."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from nas_lightning.errors import UsageError


def config_folder() -> Path:
    """Where the shipped configurations lie: inside the wheel, or beside the source tree."""
    inside = Path(str(resources.files("nas_lightning"))) / "configs"
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def shipped() -> dict[str, Path]:
    """Shipped configurations by file name."""
    return {path.name: path for path in sorted(config_folder().glob("*.yaml"))}


def summary(path: Path) -> str:
    """The first comment line of a configuration."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("#").strip()


def find_config(name: str) -> Path:
    """A configuration: a file of the user's, else a shipped one; with or without `.yaml`.

    Raises:
        UsageError: There is none; names the nearest.
    """
    for path in (Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            return path
    return find_shipped(name, near=[path.name for path in Path().glob("*.yaml")])


def find_shipped(name: str, near: Iterable[str] = ()) -> Path:
    """A shipped configuration, with or without `.yaml`.

    Args:
        name: Its name.
        near: More names for the hint if there is none.

    Raises:
        UsageError: There is none; names the nearest.
    """
    known = shipped()
    for candidate in (name, f"{name}.yaml"):
        if candidate in known:
            return known[candidate]
    close = difflib.get_close_matches(Path(name).name, [*near, *known], 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UsageError(f"no configuration {name!r}; {hint}`nas configs` lists those of nas")


def copy_config(name: str, folder: Path) -> Path:
    """Copy a shipped configuration to a folder of the user's.

    Raises:
        UsageError: There is no such configuration, or the file exists already.
    """
    source = find_shipped(name)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    if target.exists():
        raise UsageError(f"{target} exists already and is left as it is")
    shutil.copyfile(source, target)
    return target
