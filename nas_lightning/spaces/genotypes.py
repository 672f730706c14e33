"""Load genotypes: files, published cells, and text forms of the registered spaces."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# importing a shipped space registers its family
import nas_lightning.spaces.choice
import nas_lightning.spaces.darts
import nas_lightning.spaces.mobile
import nas_lightning.spaces.nas_bench_201
import nas_lightning.spaces.nas_bench_macro
import nas_lightning.spaces.reconstruction
import nas_lightning.spaces.recurrent  # noqa: F401 (see above)
from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.errors import GenotypeError, NASError, UsageError
from nas_lightning.spaces.registry import families
from nas_lightning.text import SHOWN, path_problem, shown
from nas_lightning.text_files import read_text

FILE = "genotype.json"
"""Name of the genotype's file in the run directory of a search."""

PUBLISHED: dict[str, Genotype] = {
    name: genotype for family in families() for name, genotype in family.published.items()
}
"""Published genotypes of the shipped spaces, by name."""


def load_genotype(
    source: str | Path | Mapping[str, Any], space: SearchSpace | None = None
) -> Genotype:
    """Load a genotype from a published name, a text form, a file, a run directory or parsed JSON.

    Args:
        source: A key of `PUBLISHED`; an architecture string of NAS-Bench-201 or
            NAS-Bench-Macro, or the text `Genotype(normal=[…], …)` of DARTS; the path of a file that
            holds such a text or the JSON form; a run directory with a `genotype.json`; or the
            parsed content of a file.
        space: Expected space; by default the one that the genotype names.

    Raises:
        UsageError: The source is none of these.
        GenotypeError: The file or content is not a valid genotype of the space.
        NASError: The file cannot be read, or holds something else.
    """
    if isinstance(source, Mapping):
        return Genotype.from_dict(dict(source), space)
    published = {name: cell for family in families() for name, cell in family.published.items()}
    text = str(source)
    given = published.get(text)
    if given is None and (path := _existing(text)) is not None:
        return _load_file(path, space)
    if given is None:
        given = _read_text(text)
    if given is None:
        raise _unknown(text, published)
    return Genotype.from_dict(given.to_dict(), space)


def _existing(text: str) -> Path | None:
    """Return the file that a text names, or the `genotype.json` of a run directory."""
    if path_problem(text):
        return None
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    try:
        if path.is_dir():
            inside = path / FILE
            if not inside.is_file():
                raise UsageError(f"{path} holds no {FILE}: it is not the run of a search")
            return inside
        return path if path.exists() else None
    except OSError:  # too long for a path
        return None


def _load_file(path: Path, space: SearchSpace | None) -> Genotype:
    """Load a genotype from a file that holds the JSON form or a text form."""
    if path.suffix == ".ckpt" or zipfile.is_zipfile(path):
        raise NASError(
            f"{path} is a checkpoint, not a genotype: read one off it by "
            f"nas derive {path} -o genotype.json"
        )
    text = read_text(path)
    if text.lstrip().startswith(("{", "[", '"')):
        return Genotype.load(path, space)
    try:
        found = _read_text(text)
        if found is None:
            raise NASError(
                f"{path} is not a genotype: it holds neither JSON nor a text such as "
                f"Genotype(normal=[…], …)"
            )
        return Genotype.from_dict(found.to_dict(), space)
    except GenotypeError as error:
        raise GenotypeError(error.reason, error.path, file=str(path)) from error


def _read_text(text: str) -> Genotype | None:
    """Read a text form of any family."""
    return next(filter(None, (family.read_text(text) for family in families())), None)


def _unknown(text: str, published: Mapping[str, Genotype]) -> UsageError:
    """Return the error for a source that is nothing known; names the nearest published name."""
    upper = {name.upper(): name for name in published}
    close = difflib.get_close_matches(text[:SHOWN].upper(), upper, 1)
    hint = f"; did you mean {upper[close[0]]}?" if close else ""
    return UsageError(
        f"no genotype {shown(text)}: it is neither a file nor a published name "
        f"({', '.join(published)}){hint}"
    )
