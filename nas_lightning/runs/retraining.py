"""The command that retrains the genotype of a search: the shipped configuration that fits best."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas_lightning.architecture import Genotype
from nas_lightning.imports import import_object
from nas_lightning.runs.configs import shipped
from nas_lightning.runs.next_steps import command
from nas_lightning.spaces.registry import SpaceFamily, family_of
from nas_lightning.yaml_text import read_mapping

Config = Mapping[str, Any]
CLASSIFICATION = {"class_path": "Classification"}
HEAD = "classification"

OWN = (
    "mode", "batch_size", "eval_batch_size", "test_batch_size", "arch_batch_size", "arch_fraction",
    "weight_fraction", "val_fraction", "single_level", "cutout", "bptt", "bptt_jitter",
    "half_probability", "max_extra", "num_workers", "on_device", "batch_growth",
    "colour_jitter",
)  # fmt: skip
"""Arguments of data that each stage has for itself; all others say what the data is."""
MACHINE = {"accelerator": "auto", "devices": "auto", "num_nodes": 1}
"""Settings of the trainer that belong to the machine, with their defaults."""
GENERAL = (
    "--model", "RetrainModule", "--model.auxiliary_weight", "0", "--trainer.max_epochs", "50",
    "--checkpoint.monitor", "retrain/val_loss", "--checkpoint.mode", "min",
    "--checkpoint.save_top_k", "1",
)  # fmt: skip
"""Options of a space for whose network no configuration is shipped."""


def retrain_command(
    config: Config, genotype: Genotype, run_dir: Path, batches: float, size: float | None = None
) -> str:
    """Return the command that retrains the genotype of a search on the same data.

    It names the shipped configuration with the network of the space and the data of the search,
    and sets everything in which that data differs. If none has the data, it is the one for images
    of the nearest size.

    Args:
        config: The complete configuration of the search.
        genotype: What it found.
        run_dir: Its run directory.
        batches: Number of its training batches. If they hold fewer samples than one batch of the
            configuration, the batch size is that of the search.
        size: Height and width of its images in pixels; `None` reads it from the configuration.
    """
    family = family_of(genotype.space)
    data = config["data"]
    chosen = _choose(config, family, size or _size(data))
    base: Config = {} if chosen is None else read_mapping(shipped()[f"{chosen}.yaml"])
    start = GENERAL if chosen is None else ("--config", chosen)
    return command(
        "fit", *start,
        "--model.genotype", run_dir / "genotype.json",
        *_network_options(base, family.network_arguments(genotype.space)),
        *_head_options(config, base),
        *_task_options(config, base),
        *_data_options(data, base.get("data", {}), batches),
        *_trainer_options(config["trainer"], base.get("trainer", {})),
        *(("--model.drop_path", "0") if chosen is None and genotype.space.of_choices else ()),
        "--run_dir", _free(run_dir),
    )  # fmt: skip


def _choose(config: Config, family: type[SpaceFamily], size: float) -> str | None:
    """Return the name of the shipped configuration that fits best; `None` if none has the network.

    Of several, those that share the settings of the search come first, then those with the same
    data, in most of its arguments, then the one for images of the nearest size.
    """
    found: dict[str, tuple[float, ...]] = {}
    for name, path in shipped().items():
        other = read_mapping(path)
        if _class(other["model"]) != "RetrainModule":
            continue
        if _class(_arguments(other["model"]).get("network")) != family.network.__name__:
            continue
        shared = other.get("stages", {})
        if shared and not _shares(config, shared):
            continue
        same = _class(other["data"]) == _class(config["data"])
        here, there = _arguments(config["data"]), _arguments(other["data"])
        equal = sum(_equal(here.get(key), value) for key, value in there.items() if key not in OWN)
        nearness = -abs(math.log(size / _size(other["data"])))
        found[Path(name).stem] = (float(same), len(shared), equal if same else 0, nearness)
    return max(found, key=lambda name: found[name], default=None)


def _shares(config: Config, shared: Mapping[str, Any]) -> bool:
    """Return True if a search has the settings of a block `stages`."""
    model = _arguments(config["model"])
    places = {
        **_arguments(model.get("weight_optimizer")),
        **_arguments(config["data"]),
        **_arguments(model["supernet"]),
        **model,
    }
    return all(places.get(name) == value for name, value in shared.items())


def _class(node: object) -> str:
    """Return the name of the class of a node, or of the function that it names."""
    path = node.get("class_path", "") if isinstance(node, Mapping) else node or ""
    return str(path).rpartition(".")[2]


def _arguments(node: object) -> Config:
    """Return the arguments of a node; a node without any may be an import path or `None`."""
    return (node.get("init_args") or {}) if isinstance(node, Mapping) else {}


def _imported(data: Config) -> type | None:
    """Return the class of a data module, shipped ones also by their bare names."""
    path = str(data.get("class_path", ""))
    return (
        None if not path else import_object(path if "." in path else f"nas_lightning.data.{path}")
    )


def _defaults(data: Config) -> dict[str, Any]:
    """Return the default arguments of a data module, with those of its base classes."""
    found: dict[str, Any] = {}
    for kind in reversed((_imported(data) or object).__mro__):
        own = vars(kind).get("__init__")
        for name, parameter in inspect.signature(own).parameters.items() if own else ():
            if parameter.default is not inspect.Parameter.empty:
                found[name] = parameter.default
    return found


def _size(data: Config) -> float:
    """Return the height and width of the images in pixels, or the length of signals."""
    given = {**_defaults(data), **_arguments(data)}
    fixed = {"Digits": 8, "CIFAR10": 32, "CIFAR100": 32}
    size = given.get("image_size") or given.get("size") or fixed.get(_class(data), 32)
    return float(size)


def _network_options(base: Config, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield options for what the space requires of its network, such as the number of cells."""
    network = _arguments(base.get("model")).get("network")
    given = {**_arguments(network), **base.get("stages", {})}
    for name, value in arguments.items():
        if base and given.get(name) != value:
            yield from (f"--model.network.{name}", _text(value))


def _head_options(config: Config, base: Config) -> Iterator[str]:
    """Yield the option for a head of another kind than that of the configuration."""
    head = _arguments(_arguments(config["model"]).get("supernet")).get("head")
    if head and head != _arguments(_arguments(base.get("model")).get("network")).get("head", HEAD):
        yield from ("--model.network.head", head)


def _task_options(config: Config, base: Config) -> Iterator[str]:
    """Yield the option for a task of another class than that of the configuration."""
    task = _arguments(config["model"]).get("task")
    other = _arguments(base.get("model")).get("task")
    if _class(task or CLASSIFICATION) != _class(other or CLASSIFICATION):
        yield from ("--model.task", _text(task or CLASSIFICATION))


def _data_options(data: Config, other: Config, batches: float) -> Iterator[str]:
    """Yield options that turn the data of a configuration into that of the search."""
    kept = {**_defaults(data), **_arguments(other)}
    if _class(data) != _class(other):
        yield from ("--data", str(data["class_path"]))
        if "mode" in kept:
            yield from ("--data.mode", "retrain")
    size = _arguments(data).get("batch_size", 0)
    if size and kept.get("batch_size", 0) > size * batches:
        yield from ("--data.batch_size", _text(size))
    for name, value in _arguments(data).items():
        if name not in OWN and not _equal(value, kept.get(name)):
            yield from (f"--data.{name}", _text(value))


def _equal(one: Any, two: Any) -> bool:
    """Compare values of configurations, of classes by their names and the given arguments."""
    if isinstance(one, Mapping) and isinstance(two, Mapping) and "class_path" in two:
        mine, theirs = _arguments(one), _arguments(two)
        return _class(one) == _class(two) and all(
            _equal(mine.get(name), value) for name, value in theirs.items()
        )
    return bool(one == two)


def _trainer_options(trainer: Config, other: Config) -> Iterator[str]:
    """Yield options for the machine of the search."""
    for name, default in MACHINE.items():
        if (value := trainer.get(name) or default) != other.get(name, default):
            yield from (f"--trainer.{name}", _text(value))


def _text(value: Any) -> str:
    """Return a value as an option of the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _free(run_dir: Path) -> Path:
    """Return a folder beside the run directory that does not exist yet."""
    base = run_dir.with_name(f"{run_dir.name}_retrain")
    numbered = (base.with_name(f"{base.name}-{n}") for n in range(2, 10_000))
    return next(path for path in (base, *numbered) if not path.exists())
