"""The check of a study's plan: every configuration is built once before anything runs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.fingerprint import config_hash
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.studies.ground_truth import GroundTruth
from nas_lightning.studies.lines import fit_arguments
from nas_lightning.studies.plan import (
    NAME,
    Method,
    Study,
    check_same,
    random_cell,
    read_study,
    write_study,
)


class Prepared(NamedTuple):
    """A study that may begin.

    Args:
        study: Its completed plan.
        cells: The random cells, by number.
    """

    study: Study
    cells: list[Genotype]


def prepare(study: Study) -> Prepared:
    """Check every configuration; write nothing.

    Args:
        study: The plan from the command line.

    Returns:
        The completed plan, and the random cells.

    Raises:
        UsageError: A configuration is wrong, or they do not fit together.
        NASError: The table is missing or broken.
    """
    searches = [_parsed(method, study.search_options) for method in study.methods]
    metric, higher_is_better = "", True
    for method, cli in zip(study.methods, searches, strict=True):
        if not isinstance(cli.model, SearchModule):
            raise UsageError(f"--config {','.join(method.configs)} is not a search")
        metric, higher_is_better = _metric(cli, study.metric)
    first = searches[0].model
    assert isinstance(first, SearchModule)
    cells = [random_genotype(first.space, number) for number in range(study.random)]
    retrain = study.retrain
    if retrain is not None:
        retrain = _checked_retraining(retrain, study, random_genotype(first.space, 0), metric)
    complete = replace(
        study,
        methods=tuple(
            replace(method, digest=_digest(cli))
            for method, cli in zip(study.methods, searches, strict=True)
        ),
        retrain=retrain,
        table=None if study.table is None else str(_checked_table(study)),
        metric=metric,
        higher_is_better=higher_is_better,
    )
    return Prepared(complete, cells)


def begin(folder: Path, prepared: Prepared) -> Study:
    """Write the plan and the random cells into the study's folder, and return the plan.

    Raises:
        UsageError: The folder holds another study.
    """
    if (folder / NAME).exists():
        check_same(folder, read_study(folder), prepared.study)
    for number, cell in enumerate(prepared.cells):
        path = random_cell(folder, number)
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            cell.save(path)
    write_study(folder, prepared.study)
    return prepared.study


def _parsed(method: Method, options: tuple[str, ...], *more: str) -> PlanCLI:
    """Build data and model of a configuration; run nothing."""
    return PlanCLI(["fit", *fit_arguments(method), *options, "--seed_everything", "0", *more])


def _checked_retraining(method: Method, study: Study, cell: Genotype, metric: str) -> Method:
    """Check the retraining on a cell, and return it with its digest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "genotype.json"
        cell.save(path)
        try:
            cli = _parsed(method, study.retrain_options, "--model.genotype", str(path))
        except UsageError as error:
            if "model.genotype: unknown" in str(error):
                name = ",".join(method.configs)
                raise UsageError(f"--retrain {name} is not a retraining") from error
            raise
    _metric(cli, metric)
    return replace(method, digest=_digest(cli))


def _checked_table(study: Study) -> Path:
    path = Path(str(study.table))
    GroundTruth.load(path, study.column)
    return path.resolve()


def _digest(cli: PlanCLI) -> str:
    """Return the hash of a configuration, without the cell that is retrained."""
    config = cli.plain_config()
    config["model"]["init_args"].pop("genotype", None)
    return config_hash(config)


def _metric(cli: PlanCLI, wanted: str) -> tuple[str, bool]:
    """Return the name of the metric that is compared, and True if larger is better."""
    assert isinstance(cli.model, SearchModule | RetrainModule)
    known = cli.model.streams.directions
    name = wanted or cli.model.streams.main
    if name not in known:
        raise UsageError(f"--metric {name}: {cli.model.task} has {', '.join(known)}")
    return name, known[name] != "min"
