"""`nas bench`: what the steps of a search cost here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from nas_lightning.bench import Case, Group, Options, Results, compare, measure, table
from nas_lightning.bench.case import SEARCH_STEPS, Parts, Step
from nas_lightning.bench.harness import quiet
from nas_lightning.bench.methods import METHODS
from nas_lightning.bench.precision import of_trainer
from nas_lightning.bench.settings import PRESETS, Cells, Wanted, groups, spelt
from nas_lightning.cli.bench_options import BenchOptions
from nas_lightning.errors import UsageError
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.training.stage import Stage

INDUCTOR = "inductor"
TRAINER = ("gradient_clip_val", "limit_train_batches")
"""What is taken over of a configuration's trainer, beside the precision."""


def run(given: BenchOptions, arguments: Sequence[str]) -> str:
    """Measure, and say what came out.

    Args:
        given: What to measure.
        arguments: The command line, to be kept with the figures.

    Raises:
        NASError: What is asked for does not fit together, or a file cannot be read.
    """
    old = Results.load(given.compare) if given.compare else None
    if given.accelerator == "gpu" and not torch.cuda.is_available():
        raise UsageError("--accelerator gpu: PyTorch finds no CUDA GPU here")
    if given.graphs and (given.accelerator == "cpu" or not torch.cuda.is_available()):
        raise UsageError("--graphs replays CUDA graphs: it needs a CUDA GPU")
    if given.graphs and given.compile:
        raise UsageError("--graphs and --compile do not go together: compiled cells have their own")
    with quiet():
        found = of_config(given) if given.configs else of_preset(given)
        if given.threads:
            found = [replace(group, threads=given.threads) for group in found]
        options = Options(given.repeat, given.warm_up, given.accelerator, say=_say)
        results = measure(found, options, ["nas", *arguments])
    if given.json:
        results.save(given.json)
    parts = [table.markdown(results) if given.markdown else table.text(results)]
    if old is not None:
        parts.append(table.changes(*compare(results, old)))
    return "\n\n".join(parts)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def of_preset(given: BenchOptions) -> list[Group]:
    """The cases of a preset.

    Raises:
        UsageError: There is no such method, or it does not fit the preset.
    """
    assert given.preset is not None
    _check_methods(given.methods, tuple(METHODS))
    wanted = Wanted(
        cast("tuple[Step, ...]", given.steps) or Wanted.steps,
        given.methods,
        cast("tuple[Cells, ...]", given.cells),
        given.precisions or Wanted.precisions,
        given.checkpoint,
        INDUCTOR if given.compile else None,
        given.graphs,
        given.on_device,
        given.batch,
    )
    return [group for setting in PRESETS[given.preset] for group in groups(setting, wanted)]


def _check_methods(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"no method {name!r}; choose from {', '.join(known)}")


def of_config(given: BenchOptions) -> list[Group]:
    """The cases of a configured run.

    Raises:
        UsageError: The configuration is wrong, or has no such cells.
    """
    first = _built(given, given.configs, ())
    searches = isinstance(first.model, SearchModule)
    if "plain" in given.cells:
        raise UsageError("plain cells are measured by --preset only")
    if not searches and (given.methods or given.cells or given.checkpoint or given.graphs):
        raise UsageError(
            "--methods, --cells, --checkpoint-cells and --graphs are of a search, this is none"
        )
    steps = cast("tuple[Step, ...]", given.steps) or (SEARCH_STEPS if searches else ("retrain",))
    config = first.config[first.config.subcommand]
    cases = [
        _case(given, config, method, kind, precision)
        for method in given.methods or ("",)
        for precision in given.precisions or (str(config.trainer.precision or "32-true"),)
        for kind in given.cells or _cells(given, searches)
    ]
    name = "+".join(Path(config_name).stem for config_name in given.configs)
    return [Group(name, steps, tuple(cases), config.threads)]


def _cells(given: BenchOptions, searches: bool) -> tuple[str, ...]:
    """In which ways the cells of a configured run can be computed."""
    if not searches:
        return ("retrain",)
    try:
        _built(given, given.configs, ("ReferenceCell",))
    except UsageError:
        return ("search",)  # a supernet that knows one way, or a configuration that chose
    return ("fast", "reference")


def _case(given: BenchOptions, config: Any, method: str, kind: str, precision: str) -> Case:
    configs = [*given.configs, *([f"methods/{method}"] if method else [])]
    more = ["ReferenceCell"] if kind == "reference" else []
    more += ["CheckpointCells"] if given.checkpoint else []

    def make() -> Parts:
        cli = _built(given, configs, more)
        if not isinstance(cli.model, Stage):
            raise UsageError(f"{type(cli.model).__name__} is neither a search nor a retraining")
        return Parts(cli.model, cli.datamodule)

    trainer = {name: config.trainer[name] for name in TRAINER if config.trainer[name] is not None}
    if not (epochs := config.trainer.max_epochs):
        raise UsageError("set trainer.max_epochs: it says how long a full run is")
    unusual = (given.checkpoint, given.on_device, given.compile, given.graphs)
    words = (method, kind, spelt(precision, *unusual))
    trainer["precision"] = of_trainer(precision)
    backend = INDUCTOR if given.compile else None
    name = " ".join(filter(None, words))
    return Case(name, make, epochs, None, trainer, precision, backend, given.graphs)


def _built(given: BenchOptions, configs: Sequence[str], strategies: Sequence[str]) -> PlanCLI:
    """Model and data of the configuration, with more strategies behind those that it lists."""
    arguments = ["fit", *(part for name in configs for part in ("--config", name))]
    arguments += [f"--model.strategies+={name}" for name in strategies]
    if given.batch:
        arguments += ["--data.batch_size", str(given.batch)]
    if given.on_device:
        arguments += ["--data.on_device", "true", "--data.num_workers", "0"]
    return PlanCLI(arguments)
