"""The plan of a study: searches over seeds, retrainings of the found cells, and random cells."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_lightning.errors import UsageError
from nas_lightning.files import write_text
from nas_lightning.schema import read_content
from nas_lightning.text import shown
from nas_lightning.text_files import read_json

if TYPE_CHECKING:  # it imports torch, and the command line of a study is read without
    from nas_lightning.architecture import Genotype

NAME = "study.json"
FORMAT = "nas-lightning study"
VERSION = 1
RANDOM = "random"
"""Name of the method that draws cells at random."""
MOST = 10_000
"""Largest number of seeds, of retrainings of a cell, and of random cells."""
STRIDE = 1000
"""Difference between the seeds of two retrainings of one cell."""


@dataclass(frozen=True)
class Method:
    """A method of a study.

    Args:
        name: Name in the report.
        configs: Configurations, later ones win.
        digest: Hash of their content and of the options, by which a change is noticed.
        options: Further options of `nas fit` for this method.
        links: Configurations of the searches that follow the first one, if it is a chain, as
            `--config` takes them; each is given after those of the search before it.
    """

    name: str
    configs: tuple[str, ...]
    digest: str = ""
    options: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            UsageError: It cannot be the name of a folder.
        """
        if self.name in ("", ".", "..") or "/" in self.name or "\0" in self.name:
            raise UsageError(f"the name of a method is that of a folder, found {shown(self.name)}")


@dataclass(frozen=True)
class Study:
    """The plan of a study. Each of its runs has its own folder below that of the study.

    Args:
        methods: The methods, each of which searches on the same seeds.
        seeds: Number of seeds, 0 to seeds - 1.
        retrain: Configurations of the retrainings; `None` if a table replaces them.
        retrain_seeds: Number of retrainings of each cell.
        random: Number of randomly drawn cells, which are retrained like the found ones.
        search_options: Further options of `nas fit` for all searches.
        retrain_options: Further options of `nas fit` for all retrainings.
        table: A table of true accuracies or a surrogate, which replaces the retrainings.
        column: The column of the table or of the trained cells.
        trained: Trained cells on which the error of the surrogate is measured.
        metric: Name of the metric that is compared.
        higher_is_better: True if larger values of the metric are better.
    """

    methods: tuple[Method, ...]
    seeds: int
    retrain: Method | None = None
    retrain_seeds: int = 1
    random: int = 0
    search_options: tuple[str, ...] = ()
    retrain_options: tuple[str, ...] = ()
    table: str | None = None
    column: str | None = None
    trained: str | None = None
    metric: str = ""
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: One is too small or too large.
        """
        for name in ("seeds", "retrain_seeds", "random"):
            if not 0 <= getattr(self, name) <= MOST:
                raise UsageError(f"{name} must be 0 to {MOST:,}, found {getattr(self, name):,}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def read_study(folder: Path) -> Study:
    """Read the plan of the study in a folder.

    Raises:
        UsageError: The folder holds none.
        ContentError: It holds one of other content; names the place.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        raise UsageError(f"{folder} holds no study: there is no {NAME}")
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path} is not the plan of a study")
    if data.get("version") != VERSION:
        raise UsageError(f"{path} is of version {shown(data.get('version'))}, not {VERSION}")
    plan = {key: value for key, value in data.items() if key not in ("format", "version")}
    return read_content(Study, plan, path)


def write_study(folder: Path, study: Study) -> None:
    """Write the plan into the folder of the study."""
    write_text(folder / NAME, json.dumps(study.to_dict(), indent=1) + "\n")


def check_same(folder: Path, before: Study, now: Study) -> None:
    """Check that a study may continue in a folder: it may grow, but not become another one.

    Raises:
        UsageError: It is another one; the message names the differences.
    """
    kept = {method.name: method for method in before.methods}
    changed = [
        f"the method {method.name}"
        for method in now.methods
        if kept.get(method.name, method).digest != method.digest
    ]
    if (before.retrain and before.retrain.digest) != (now.retrain and now.retrain.digest):
        changed.append("the retraining")
    if (before.table, before.column) != (now.table, now.column):
        changed.append("the table")
    if before.metric != now.metric:
        changed.append("the metric")
    if before.random != now.random:  # finished searches did not score the new ones
        changed.append("the number of random cells")
    if changed:
        raise UsageError(
            f"{folder} holds a study that differs in {' and '.join(changed)}: choose another "
            f"folder by --dir, or restore the earlier settings"
        )


def digest(genotype: Genotype) -> str:
    """Return a short name that distinguishes cells: twelve hexadecimal digits."""
    form = genotype.to_dict()
    text = json.dumps([genotype.space.name, form.get("cells", form.get("choices"))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def search_dir(folder: Path, method: str, seed: int) -> Path:
    """Return the run directory of a search."""
    return folder / "searches" / method / f"seed_{seed}"


def link_dirs(place: Path, method: Method) -> list[Path]:
    """Return the run directories of a chain, in order: a single search has one.

    Args:
        place: Result of `search_dir`, which is the run directory of the last search of the chain.
        method: The method.
    """
    return [*(place / f"link_{number + 1}" for number in range(len(method.links))), place]


def random_cell(folder: Path, number: int) -> Path:
    """Return the genotype file of a randomly drawn cell."""
    return folder / "random" / f"cell_{number}.json"


def retrain_dir(folder: Path, genotype: Genotype, seed: int) -> Path:
    """Return the run directory of a retraining, which all methods that find the cell share."""
    return folder / "retrains" / digest(genotype) / f"seed_{seed}"


def retrain_seeds(seed: int, number: int) -> list[int]:
    """Return the seeds of a cell's retrainings: equal for all methods, so that runs pair up."""
    return [seed + STRIDE * index for index in range(number)]
