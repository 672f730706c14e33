"""The shipped configurations in small sizes, with data that needs no files."""

import json
from pathlib import Path
from typing import Any

import yaml

from nas_lightning.architecture import random_genotype
from nas_lightning.runs.configs import shipped
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.spaces import get_space

CONFIGS = shipped()
# channels, classes and pixels of the images that each configuration, or its family, is for
SHAPES = {
    "digits": (1, 10, 8),
    "cifar": (3, 10, 32),
    "cifar100": (3, 100, 32),
    "folder": (3, 10, 64),
    "imagenet": (3, 10, 64),
    "imagenet_retrain": (3, 10, 224),  # the auxiliary head needs them
    "nb201": (3, 10, 32),
}
# one process on a CPU, one batch
TRAINER = {
    "fast_dev_run": True,
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
}
# a selection then takes one epoch, after one of the search
SELECTIONS = {"cifar_darts_pt.yaml": ["--model.strategies.tuning_epochs=0"]}
# by network
SPACES = {
    "DartsNetwork": "darts",
    "NasBench201Network": "nas_bench_201",
    "ReconstructionNetwork": "reconstruction",
    "RecurrentNetwork": "darts_recurrent",
}


def images(config: Path) -> dict[str, Any]:
    """Return synthetic images that replace a configuration's own data."""
    family = config.stem.split("_")[0]
    channels, classes, pixels = SHAPES.get(config.stem, SHAPES[family])
    given = yaml.safe_load(config.read_text())["data"]["init_args"]
    arguments = {
        "in_channels": channels,
        "num_classes": classes,
        "image_size": pixels,
        "train_size": max(16, 2 * classes),  # every class must have samples
        "test_size": 4,
        "batch_size": 4,
        "arch_fraction": 0.5,
        "val_fraction": 0.25,
        "num_workers": 0,
        "on_device": given.get("on_device", False),
        "batch_growth": {"by": 1, "after": [0]} if given.get("batch_growth") else None,
    }
    return {"class_path": "Synthetic", "init_args": arguments}


def text() -> dict[str, Any]:
    """Return synthetic text that replaces a configuration's own data."""
    sizes = {"num_tokens": 16, "train_size": 256, "valid_size": 256, "test_size": 256}
    return {"class_path": "SyntheticText", "init_args": {**sizes, "batch_size": 4, "bptt": 8}}


def measurements(given: dict[str, Any]) -> dict[str, Any]:
    """Return few signals or photographs of the configuration's own class, which need no files."""
    sizes = {"train_size": 16, "test_size": 4, "batch_size": 4, "val_fraction": 0.25}
    return {"class_path": given["class_path"], "init_args": sizes}


def synthetic(config: Path, folder: Path) -> Path:
    """Write a configuration that replaces the data and the trainer settings of another."""
    given = yaml.safe_load(config.read_text())["data"]
    if given["class_path"] in ("Signals", "Photographs"):
        data = measurements(given)
    else:
        data = text() if given["class_path"] == "TextData" else images(config)
    data["init_args"]["mode"] = given["init_args"]["mode"]
    changes = {
        "data": data,
        "trainer": TRAINER,
        "run_dir": str(folder / "run"),
    }
    path = folder / "synthetic.yaml"
    path.write_text(yaml.safe_dump(changes))
    return path


def space_of(config: Path) -> str:
    """Return the name of the search space whose genotypes a configuration retrains."""
    network = yaml.safe_load(config.read_text())["model"]["init_args"].get("network")
    return SPACES[network["class_path"]] if network else "darts"


SMALL = {
    "DartsSupernet": {"channels": 8, "layers": 3, "nodes": 2},
    "DartsNetwork": {"channels": 8, "layers": 3},
    "NasBench201Supernet": {"channels": 4, "cells": 1},
    "NasBench201Network": {"channels": 4, "cells": 1},
    "ReconstructionSupernet": {"filters": 2, "channels": 3},
    "ReconstructionNetwork": {"filters": 2, "channels": 3},
    "RecurrentSupernet": {"hidden": 8},
    "RecurrentNetwork": {"hidden": 8},
}
"""Arguments of a small network, by its class."""
CHOICES: dict[str, dict[str, Any]] = {
    "MobileNetwork": {"width": 0.25, "blocks": [2, 1, 1, 1, 1, 1]},
    "NasBenchMacroNetwork": {"channels": 4},
}
"""Arguments of small networks with choices, by class."""


def sizes_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a small supernet or network in place of the configured one."""
    kind, given = chosen["class_path"], chosen.get("init_args", {})
    if kind != "ChoiceSupernet":
        return SMALL[kind]
    sizes = CHOICES[given["network"].rpartition(".")[2]]
    return {"arguments": json.dumps({**given.get("arguments", {}), **sizes})}


def second_network(config: Path) -> list[str]:
    """Return the arguments of a small evaluation network, if a search has one."""
    return ["--model.strategies.layers=3"] if "class_path: CDARTS" in config.read_text() else []


def full_size(name: str, folder: Path) -> list[str]:
    """Return the arguments of `nas fit` for a configuration with synthetic data."""
    configs = [str(CONFIGS[name]), str(synthetic(CONFIGS[name], folder))]
    arguments = ["fit", *(part for config in configs for part in ("--config", config))]
    if "retrain" in name:
        genotype = folder / "genotype.json"
        random_genotype(get_space(space_of(CONFIGS[name])), seed=0).save(genotype)
        arguments += ["--model.genotype", str(genotype)]
    return arguments


def small(name: str, folder: Path) -> list[str]:
    """Return the arguments of `nas fit` for a configuration with a small network too."""
    given = yaml.safe_load(CONFIGS[name].read_text())
    part = "network" if "retrain" in name else "supernet"
    sizes = sizes_of(given["model"]["init_args"][part])
    if "ProgressiveChannels" in CONFIGS[name].read_text():
        sizes = {**sizes, "channels": 12}  # a multiple of all K
    return [
        *full_size(name, folder),
        *(f"--model.{part}.{key}={value}" for key, value in sizes.items()),
        *(f"--stages.{key}={sizes[key]}" for key in given.get("stages", {}) if key in sizes),
        *second_network(CONFIGS[name]),
    ]


def build(arguments: list[str]) -> PlanCLI:
    """Build the model and the data of a command, without a trainer."""
    return PlanCLI(arguments)
