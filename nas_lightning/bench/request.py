"""From a request for figures to the measured cases: those of a preset or of a configured run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from nas_lightning.bench import Case, Group, Options, Results, compare, measure, table
from nas_lightning.bench.case import SEARCH_STEPS, Parts, Step
from nas_lightning.bench.harness import quiet
from nas_lightning.bench.methods import METHODS
from nas_lightning.bench.precision import of_trainer
from nas_lightning.bench.settings import PRESETS, Cells, Wanted, groups, spelt
from nas_lightning.errors import UsageError
from nas_lightning.search import SearchModule
from nas_lightning.training.stage import Stage

INDUCTOR = "inductor"
TRAINER = ("gradient_clip_val", "limit_train_batches")
"""Settings that are taken from a configuration's trainer, besides the precision."""


@dataclass(frozen=True)
class Request:
    """A request for figures.

    Attributes:
        preset: A search of fixed sizes; `None` means a configured run.
        configs: Configurations of one run; later ones win.
        methods: Methods; empty means that of the preset or configuration.
        steps: Steps; empty means the usual ones.
        cells: Implementations of the cells; empty means all.
        precisions: Precisions; empty means that of the configuration, or 32 bits.
        batch: Samples in a batch; `None` means that of the preset or configuration.
        threads: CPU threads; `None` means those of the preset or configuration.
        on_device: Keep the data on the device.
        checkpoint: Checkpoint cells.
        compile: Compile cells.
        graphs: Replay passes as CUDA graphs.
        json: File to write.
        markdown: Return Markdown.
        compare: File of figures to compare with.
    """

    preset: str | None
    configs: tuple[str, ...]
    methods: tuple[str, ...]
    steps: tuple[str, ...]
    cells: tuple[str, ...]
    precisions: tuple[str, ...]
    batch: int | None
    threads: int | None
    on_device: bool
    checkpoint: bool
    compile: bool
    graphs: bool
    json: Path | None
    markdown: bool
    compare: Path | None


class Built(Protocol):
    """A run whose model and data are built from a command line, and that does not train."""

    config: Any
    model: Any
    datamodule: Any


Build = Callable[[list[str]], Built]
"""The command line of a fit → the run that it configures."""


def figures(request: Request, options: Options, build: Build, command: Sequence[str]) -> str:
    """Measure what is requested, and return the tables.

    Args:
        request: The request.
        options: Rounds, accelerator and progress.
        build: Builds a configured run.
        command: The command line, to be kept with the figures.

    Raises:
        NASError: Parts of the request do not fit together, or a file cannot be read.
    """
    old = Results.load(request.compare) if request.compare else None
    if options.accelerator == "gpu" and not torch.cuda.is_available():
        raise UsageError("--accelerator gpu: PyTorch finds no CUDA GPU here")
    if request.graphs and (options.accelerator == "cpu" or not torch.cuda.is_available()):
        raise UsageError("--graphs replays CUDA graphs: it needs a CUDA GPU")
    if request.graphs and request.compile:
        raise UsageError("--graphs and --compile do not go together: compiled cells have their own")
    with quiet():
        found = configured(request, build) if request.configs else preset(request)
        if request.threads:
            found = [replace(group, threads=request.threads) for group in found]
        results = measure(found, options, list(command))
    if request.json:
        results.save(request.json)
    parts = [table.markdown(results) if request.markdown else table.text(results)]
    if old is not None:
        parts.append(table.changes(*compare(results, old)))
    return "\n\n".join(parts)


def preset(request: Request) -> list[Group]:
    """Return the cases of a preset.

    Raises:
        UsageError: There is no such method, or it does not fit the preset.
    """
    assert request.preset is not None
    for name in request.methods:
        if name not in METHODS:
            raise UsageError(f"no method {name!r}; choose from {', '.join(METHODS)}")
    wanted = Wanted(
        cast("tuple[Step, ...]", request.steps) or Wanted.steps,
        request.methods,
        cast("tuple[Cells, ...]", request.cells),
        request.precisions or Wanted.precisions,
        request.checkpoint,
        INDUCTOR if request.compile else None,
        request.graphs,
        request.on_device,
        request.batch,
    )
    return [group for setting in PRESETS[request.preset] for group in groups(setting, wanted)]


def configured(request: Request, build: Build) -> list[Group]:
    """Return the cases of a configured run.

    Raises:
        UsageError: The configuration is wrong, or has no such cells.
    """
    first = _built(request, build, request.configs, ())
    searches = isinstance(first.model, SearchModule)
    if "plain" in request.cells:
        raise UsageError("plain cells are measured by --preset only")
    if not searches and (request.methods or request.cells or request.checkpoint or request.graphs):
        raise UsageError(
            "--methods, --cells, --checkpoint-cells and --graphs are options of a search, and this "
            "configuration is not one"
        )
    steps = cast("tuple[Step, ...]", request.steps) or (SEARCH_STEPS if searches else ("retrain",))
    config = first.config[first.config.subcommand]
    cases = [
        _case(request, build, config, method, kind, precision)
        for method in request.methods or ("",)
        for precision in request.precisions or (str(config.trainer.precision or "32-true"),)
        for kind in request.cells or _cells(request, build, searches)
    ]
    name = "+".join(Path(config_name).stem for config_name in request.configs)
    return [Group(name, steps, tuple(cases), config.threads)]


def _cells(request: Request, build: Build, searches: bool) -> tuple[str, ...]:
    """Return the implementations that the cells of a configured run have."""
    if not searches:
        return ("retrain",)
    try:
        _built(request, build, request.configs, ("ReferenceCell",))
    except UsageError:
        return ("search",)  # a supernet with one implementation, or a configuration that chose
    return ("fast", "reference")


def _case(
    request: Request, build: Build, config: Any, method: str, kind: str, precision: str
) -> Case:
    configs = [*request.configs, *([f"methods/{method}"] if method else [])]
    more = ["ReferenceCell"] if kind == "reference" else []
    more += ["CheckpointCells"] if request.checkpoint else []

    def make() -> Parts:
        run = _built(request, build, configs, more)
        if not isinstance(run.model, Stage):
            raise UsageError(f"{type(run.model).__name__} is neither a search nor a retraining")
        return Parts(run.model, run.datamodule)

    trainer = {name: config.trainer[name] for name in TRAINER if config.trainer[name] is not None}
    if not (epochs := config.trainer.max_epochs):
        raise UsageError("set trainer.max_epochs: it is the length of a full run")
    unusual = (request.checkpoint, request.on_device, request.compile, request.graphs)
    words = (method, kind, spelt(precision, *unusual))
    trainer["precision"] = of_trainer(precision)
    backend = INDUCTOR if request.compile else None
    name = " ".join(filter(None, words))
    return Case(name, make, epochs, None, trainer, precision, backend, request.graphs)


def _built(
    request: Request, build: Build, configs: Sequence[str], strategies: Sequence[str]
) -> Built:
    """Build the run, with more strategies after those of its configuration."""
    arguments = ["fit", *(part for name in configs for part in ("--config", name))]
    arguments += [f"--model.strategies+={name}" for name in strategies]
    if request.batch:
        arguments += ["--data.batch_size", str(request.batch)]
    if request.on_device:
        arguments += ["--data.on_device", "true", "--data.num_workers", "0"]
    return build(arguments)
