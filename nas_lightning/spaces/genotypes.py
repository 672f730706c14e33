"""Load genotypes: files, published cells, and text forms of the registered spaces."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# importing a shipped space registers its family
import nas_lightning.spaces.darts
import nas_lightning.spaces.nas_bench_201
import nas_lightning.spaces.reconstruction
import nas_lightning.spaces.recurrent  # noqa: F401 (see above)
from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.spaces.registry import families

PUBLISHED: dict[str, Genotype] = {
    name: genotype for family in families() for name, genotype in family.published.items()
}
"""Published genotypes of the shipped spaces, by name."""


def load_genotype(
    source: str | Path | Mapping[str, Any], space: SearchSpace | None = None
) -> Genotype:
    """Load a genotype from a published name, a text form, a file, or parsed JSON.

    Args:
        source: A key of `PUBLISHED`, an architecture string of NAS-Bench-201, the path of a
            genotype file, or its parsed content.
        space: Expected space; by default the one that the genotype names.

    Raises:
        UsageError: The source is none of these.
        GenotypeError: The file or content is not a valid genotype of the space.
    """
    if isinstance(source, Mapping):
        return Genotype.from_dict(dict(source), space)
    text = str(source)
    read = (family.read_text(text) for family in families())
    published = {name: cell for family in families() for name, cell in family.published.items()}
    given = published.get(text) or next((found for found in read if found), None)
    if given is not None:
        return Genotype.from_dict(given.to_dict(), space)
    if not Path(source).is_file():
        upper = {name.upper(): name for name in published}
        close = difflib.get_close_matches(text.upper(), upper, 1)
        hint = f"; did you mean {upper[close[0]]}?" if close else ""
        raise UsageError(
            f"no genotype {text!r}: it is neither a file nor a published name "
            f"({', '.join(published)}){hint}"
        )
    return Genotype.load(source, space)
