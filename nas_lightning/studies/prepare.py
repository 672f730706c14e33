"""The check of a study's plan: every configuration is built once before anything runs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.errors import UsageError
from nas_lightning.retrain import RetrainModule
from nas_lightning.runs.chain import link_texts
from nas_lightning.runs.fingerprint import config_hash
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.studies.judges import check_judge
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
        NASError: The table or the surrogate is missing or broken.
    """
    methods: list[Method] = []
    space, metric, higher_is_better = None, "", True
    for given in study.methods:
        method, clis = _checked_search(given, study.search_options)
        methods.append(method)
        metric, higher_is_better = _metric(clis[-1], study.metric)
        space = space or _search_of(clis[-1], method).space
    assert space is not None
    cells = [random_genotype(space, number) for number in range(study.random)]
    retrain = study.retrain
    if retrain is not None:
        retrain = _checked_retraining(retrain, study, random_genotype(space, 0), metric)
    check_judge(study, metric, random_genotype(space, 0))
    complete = replace(
        study,
        methods=tuple(methods),
        retrain=retrain,
        table=_resolved(study.table),
        trained=_resolved(study.trained),
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


def _checked_search(method: Method, options: tuple[str, ...]) -> tuple[Method, list[PlanCLI]]:
    """Check a search, or each search of a chain.

    Each search of a chain is built with what the one before it would keep at its start.

    Returns:
        The method with its links and its digest, and each search.
    """
    clis = [_parsed(method, options)]
    module = _search_of(clis[0], method)
    links = link_texts(clis[0].config.fit.chain or ())
    method = replace(method, links=links)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, len(links) + 1):
            path = Path(folder) / f"{number}.json"
            module.genotype().save(path)
            try:
                clis.append(_parsed(method, options, earlier=[path] * number))
            except UsageError as error:
                raise UsageError(_of_link(method, number, str(error))) from error
            module = _search_of(clis[-1], method)
    digests = [_digest(cli, number) for number, cli in enumerate(clis)]
    # that of a single search is as it was before there were chains
    joined = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
    return replace(method, digest=joined if links else digests[0]), clis


def _of_link(method: Method, number: int, message: str) -> str:
    """Return the message about a search of a chain, the first of which has number 0."""
    if "model.strategies.genotype: unknown" in message:
        message = "its last strategy must be KeepOperations"
    return f"search {number + 1} of the chain {','.join(method.configs)}: {message}"


def _search_of(cli: PlanCLI, method: Method) -> SearchModule:
    if not isinstance(cli.model, SearchModule):
        raise UsageError(f"--config {','.join(method.configs)} is not a search")
    return cli.model


def _parsed(
    method: Method, options: tuple[str, ...], *more: str, earlier: Sequence[Path] = ()
) -> PlanCLI:
    """Build data and model of a configuration; run nothing."""
    arguments = fit_arguments(method, earlier)
    return PlanCLI(["fit", *arguments, *options, "--seed_everything", "0", *more])


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


def _resolved(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _digest(cli: PlanCLI, number: int = 0) -> str:
    """Return the hash of a configuration, without the cell that is retrained.

    Args:
        cli: The parsed configuration.
        number: Number of the search in a chain; those after the first are hashed without the
            genotype that they begin from.
    """
    config = cli.plain_config()
    arguments = config["model"]["init_args"]
    arguments.pop("genotype", None)
    if number:
        arguments["strategies"][-1]["init_args"].pop("genotype", None)
    return config_hash(config)


def _metric(cli: PlanCLI, wanted: str) -> tuple[str, bool]:
    """Return the name of the metric that is compared, and True if larger is better."""
    assert isinstance(cli.model, SearchModule | RetrainModule)
    known = cli.model.streams.directions
    name = wanted or cli.model.streams.main
    if name not in known:
        raise UsageError(f"--metric {name}: {cli.model.task} has {', '.join(known)}")
    return name, known[name] != "min"
