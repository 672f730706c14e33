"""What a study runs: searches over seeds, retrainings of what they find, random cells beside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.errors import UsageError
from nas_lightning.files import write_text

NAME = "study.json"
FORMAT = "nas-lightning study"
VERSION = 1
RANDOM = "random"
"""The method of randomly drawn cells."""
STRIDE = 1000
"""Between the seeds of two retrainings of one cell."""


@dataclass(frozen=True)
class Method:
    """A way to search.

    Args:
        name: Stands in the report.
        configs: Configurations, later ones win.
        digest: Of their content and of the options, so that a changed one is noticed.
    """

    name: str
    configs: tuple[str, ...]
    digest: str = ""


@dataclass(frozen=True)
class Study:
    """The plan of a study. Everything that it runs has a folder of its own below the study's.

    Args:
        methods: Searched with, each on the same seeds.
        seeds: Number of seeds, 0 to seeds - 1.
        retrain: How what was found is retrained; none if a table says what it is worth.
        retrain_seeds: Retrainings of each cell.
        random: Number of randomly drawn cells, which are retrained like the found ones.
        search_options: Further options of `nas fit` for all searches.
        retrain_options: Further options of `nas fit` for all retrainings.
        table: A table of true accuracies, and its column, in place of retrainings.
        column: The column of the table.
        metric: Name of the metric that is compared.
        higher_is_better: Whether larger values of it are better.
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
    metric: str = ""
    higher_is_better: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Study:
        """Read the JSON form."""
        values = {key: value for key, value in data.items() if key not in ("format", "version")}
        methods = tuple(_method(method) for method in values.pop("methods"))
        retrain = values.pop("retrain")
        for name in ("search_options", "retrain_options"):
            values[name] = tuple(values[name])
        return cls(methods=methods, retrain=None if retrain is None else _method(retrain), **values)


def _method(data: Mapping[str, Any]) -> Method:
    return Method(data["name"], tuple(data["configs"]), data["digest"])


def read_study(folder: Path) -> Study:
    """The plan of the study in a folder.

    Raises:
        UsageError: There is none.
    """
    try:
        data = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no study: there is no {NAME} to be read") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{folder / NAME} is not the plan of a study")
    if data.get("version") != VERSION:
        raise UsageError(f"{folder / NAME} is of version {data.get('version')}, not {VERSION}")
    return Study.from_dict(data)


def write_study(folder: Path, study: Study) -> None:
    """Write the plan into the folder of the study."""
    write_text(folder / NAME, json.dumps(study.to_dict(), indent=1) + "\n")


def check_same(folder: Path, before: Study, now: Study) -> None:
    """Check that a study may go on in a folder: it may become larger, but not another one.

    Raises:
        UsageError: It is another one; says in what.
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
    if before.random != now.random:  # searches that have ended did not score new ones
        changed.append("the number of random cells")
    if changed:
        raise UsageError(
            f"{folder} holds a study that differs in {' and '.join(changed)}: choose another "
            f"folder by --dir, or go back to what it was"
        )


def digest(genotype: Genotype) -> str:
    """A short name that tells cells apart: twelve hexadecimal digits."""
    text = json.dumps([genotype.space.name, genotype.to_dict()["cells"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def search_dir(folder: Path, method: str, seed: int) -> Path:
    """Where a search of a study runs."""
    return folder / "searches" / method / f"seed_{seed}"


def random_cell(folder: Path, number: int) -> Path:
    """The genotype file of a randomly drawn cell."""
    return folder / "random" / f"cell_{number}.json"


def retrain_dir(folder: Path, genotype: Genotype, seed: int) -> Path:
    """Where a cell is retrained; one that is found twice with one seed is retrained once."""
    return folder / "retrains" / digest(genotype) / f"seed_{seed}"


def retrain_seeds(seed: int, number: int) -> list[int]:
    """The seeds of the retrainings of what a seed found: shared by all methods, so runs pair up."""
    return [seed + STRIDE * index for index in range(number)]
