"""The runs of a study: a search with its one-shot scores, and a retraining with its test."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock

from nas_lightning.architecture import Genotype
from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.runs.chain import begins_from
from nas_lightning.runs.command import run
from nas_lightning.runs.directory import AUTO, CONFIG
from nas_lightning.runs.exit import unexpected
from nas_lightning.runs.failures import explain, root_cause
from nas_lightning.runs.metrics import read_metrics
from nas_lightning.runs.record_file import read_record
from nas_lightning.search import SearchModule
from nas_lightning.signals import RunInterruptedError
from nas_lightning.studies.one_shot import one_shot_scores
from nas_lightning.studies.plan import (
    RANDOM,
    Method,
    Study,
    link_dirs,
    random_cell,
    read_study,
    retrain_dir,
    retrain_seeds,
    search_dir,
)
from nas_lightning.studies.progress import Line
from nas_lightning.studies.results import (
    Result,
    read_failure,
    read_result,
    write_failure,
    write_result,
)
from nas_lightning.text import one_line

QUIET = ("--verbose", "false")


def run_line(folder: Path, line: Line, retry: bool = False) -> None:
    """Run the rest of a line: finished runs are kept, unfinished ones resume.

    Args:
        folder: The study's folder.
        line: A search and its retrainings, or those of a random cell.
        retry: Try runs that failed once more.
    """
    study = read_study(folder)
    if line.method == RANDOM:
        genotype = Genotype.load(random_cell(folder, line.seed))
    else:
        place = search_dir(folder, line.method, line.seed)
        if not _searched(folder, study, line, retry):
            return
        genotype = Genotype.load(place / "genotype.json")
    if study.retrain is None:
        return
    for seed in retrain_seeds(line.seed, study.retrain_seeds):
        place = retrain_dir(folder, genotype, seed)
        _once(place, retry, partial(_retrain, place, study, genotype, seed))


def _searched(folder: Path, study: Study, line: Line, retry: bool) -> bool:
    """Run the rest of a search, or of a chain of searches, and return True if it has ended well."""
    method = next(method for method in study.methods if method.name == line.method)
    *links, place = link_dirs(search_dir(folder, line.method, line.seed), method)
    if read_result(place, Result) is None:
        for number, link in enumerate(links):
            fit = partial(_fit, method, study.search_options, link, line.seed, links[:number])
            if not _once(link, retry, partial(_link, fit, link)):
                write_failure(place, f"search {number + 1} of {len(links) + 1}: {_why(link)}")
                return False
    return _once(place, retry, partial(_search, folder, study, line, method))


def _link(fit: Callable[[], None], place: Path) -> None:
    """Run a search from which another one begins."""
    fit()
    write_result(place, {"seconds": _seconds([place])})


def _why(place: Path) -> str:
    return read_failure(place) or "it failed"


def _once(place: Path, retry: bool, work: Callable[[], None]) -> bool:
    """Run what has not ended in a folder yet, and return True if it has ended well."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f".{place.name}.lock")):  # lines may share a retraining
        if read_result(place, Result) is not None:
            return True
        if read_failure(place) is not None and not retry:
            return False
        _forget_peak_memory()
        try:
            work()
        except RunInterruptedError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a study outlives its runs)
            if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C as Lightning passes it on
                raise KeyboardInterrupt from None
            cause = root_cause(error)
            write_failure(place, one_line(explain(cause) or unexpected(cause)))
            print(f"nas: {read_failure(place)}", flush=True)
            return False
        return True


def _search(folder: Path, study: Study, line: Line, method: Method) -> None:
    """Search, and score the found cell and the random cells with the supernet's weights."""
    runs = link_dirs(search_dir(folder, line.method, line.seed), method)
    *earlier, place = runs
    _fit(method, study.search_options, place, line.seed, earlier)
    test = run(["test", "--config", str(place / CONFIG), *QUIET])
    assert isinstance(test.model, SearchModule)
    one_shot = float(test.trainer.callback_metrics[f"one_shot/test_{study.metric}"])
    cells = [Genotype.load(random_cell(folder, number)) for number in range(study.random)]
    scores = one_shot_scores(test, cells, study.metric)
    supernet = [
        row[name]
        for row in read_metrics(place)
        if (name := f"search/val_{study.metric}") in row  # a single-level search has none
    ]
    result = {
        "supernet": supernet[-1] if supernet else None,
        "one_shot": one_shot,
        "scores": {str(i): score for i, score in enumerate(scores) if score is not None},
        "costs": _costs(test.model, cells),
        "peak_memory_mib": max(
            start.get("peak_memory_mib", 0.0) for run in runs for start in _starts(run)
        ),
        "seconds": _seconds(runs),
        "cpu_seconds": _seconds(runs, "cpu_seconds"),
    }
    write_result(place, result)


def _costs(model: SearchModule, cells: Sequence[Genotype]) -> dict[str, float]:
    """Return the cost of random cells by their number, if the search has a budget.

    Cells with an operation that the search does not have are left out.
    """
    for strategy in model.strategies:
        if strategy.budgeted is not None:
            known = {cell.kind: set(cell.primitives) for cell in model.space.cells}
            return {
                str(number): strategy.price(genotype)
                for number, genotype in enumerate(cells)
                if genotype.space.kinds == model.space.kinds
                and all(
                    kept.primitive in known[kind]
                    for kind, cell in genotype.cells.items()
                    for node in cell.nodes
                    for kept in node
                )
            }
    return {}


def _retrain(place: Path, study: Study, genotype: Genotype, seed: int) -> None:
    """Retrain a cell and test it."""
    assert study.retrain is not None
    file = place.parent / "genotype.json"
    # without its provenance: several searches may have found it
    Genotype(genotype.space, genotype.cells).save(file)
    options = (*study.retrain_options, "--model.genotype", str(file))
    _fit(study.retrain, options, place, seed)
    test = run(["test", "--config", str(place / CONFIG), *QUIET])
    assert isinstance(test.model, RetrainModule)
    result = {
        "final": float(test.trainer.callback_metrics[f"retrain/test_{study.metric}"]),
        "parameters": count_parameters(test.model.network),
        "seconds": _seconds([place]),
    }
    write_result(place, result)


def _fit(
    method: Method,
    options: Sequence[str],
    place: Path,
    seed: int,
    earlier: Sequence[Path] = (),
) -> None:
    """Run a fit, or resume it.

    Args:
        method: Its configurations.
        options: Further options.
        place: Its run directory.
        seed: Its seed.
        earlier: Run directories of the searches of a chain that come before it.
    """
    own = ("--seed_everything", str(seed), "--run_dir", str(place), "--ckpt_path", AUTO)
    line = ["fit", *fit_arguments(method, earlier), "--pictures", "false", *options, *own]
    run(line, says_next=False)


def fit_arguments(method: Method, earlier: Sequence[Path] = ()) -> list[str]:
    """Return the configurations and options of a method as arguments of `nas fit`.

    Args:
        method: The method.
        earlier: What the searches of a chain that come before this one found: run directories, or
            genotype files.
    """
    configs = (*method.configs, *method.links[: len(earlier)])
    arguments = [part for config in configs for part in ("--config", config)]
    kept = begins_from(earlier[-1]) if earlier else []
    return [*arguments, *method.options, *kept]


def _starts(place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_record(place)["starts"]
    return found


def _seconds(places: Sequence[Path], key: Literal["seconds", "cpu_seconds"] = "seconds") -> float:
    """Return the wall time or the processor time of runs in seconds, over all their starts."""
    return sum(float(start.get(key, 0.0)) for place in places for start in _starts(place))


def _forget_peak_memory() -> None:
    """Reset the peak memory, so that the record of a run excludes previous runs in this process."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # it exists on Linux only
        Path("/proc/self/clear_refs").write_text("5")
