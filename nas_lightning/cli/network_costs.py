"""Parameters and multiply-adds of networks and supernets, for `nas info`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from nas_lightning.architecture import Genotype, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.layers.stems import StemName
from nas_lightning.operators import Identity
from nas_lightning.retrain import count_parameters, network_cost
from nas_lightning.spaces import (
    RECONSTRUCTION_NAME,
    DartsNetwork,
    DartsSupernet,
    NasBench201Network,
    NasBench201Supernet,
    ReconstructionNetwork,
    ReconstructionSupernet,
    RecurrentNetwork,
    RecurrentSupernet,
    get_space,
    individual_layers,
    load_genotype,
)
from nas_lightning.spaces.nas_bench_201 import to_string

Given = Mapping[str, int | None]
"""Sizes of the command line by name (`channels`, `layers`, …); `None` where not given."""

PIXELS = {"cifar": 32, "imagenet": 224}
CLASSES = {"cifar": 10, "imagenet": 1000}
TOKENS = 10_000
"""Words of the Penn Treebank."""


def genotype_cost(source: str, space: str | None, given: Given, imagenet: bool) -> dict[str, Any]:
    """Return the sizes and the cost of a genotype's network.

    Raises:
        UsageError: The space does not have one of the sizes, or they do not fit.
    """
    genotype = load_genotype(source, get_space(space) if space else None)
    if genotype.space == "darts_recurrent":
        _refuse(given, imagenet, "layers", "image_size")
        sizes = _filled(given, channels=850, classes=TOKENS)
        network = RecurrentNetwork(sizes["channels"])
        with torch.device("meta"):
            built = network.build(genotype, {"num_tokens": sizes["classes"]})
        return {**sizes, "parameters": count_parameters(built)}
    if genotype.space == "nas_bench_201":
        _refuse(given, imagenet)
        sizes = _filled(given, channels=16, layers=5, classes=10, image_size=32)
        cost = network_cost(
            NasBench201Network(sizes["channels"], sizes["layers"]), genotype, _images(sizes)
        )
        return {"string": to_string(genotype), **sizes, **asdict(cost)}
    if genotype.space == RECONSTRUCTION_NAME:
        _refuse(given, imagenet, "layers", "classes", "image_size")
        sizes = _filled(given, channels=16)
        unrolled = ReconstructionNetwork(channels=sizes["channels"])
        return {**sizes, **_by_dims(lambda spec: unrolled.build(genotype, spec))}
    return _darts_cost(genotype, given, imagenet)


def _darts_cost(genotype: Genotype, given: Given, imagenet: bool) -> dict[str, Any]:
    stem: StemName = "imagenet" if imagenet else "cifar"
    sizes = _filled(
        given,
        channels=48 if imagenet else 36,
        layers=individual_layers(genotype.space) or (14 if imagenet else 20),
        classes=CLASSES[stem],
        image_size=PIXELS[stem],
    )
    network = DartsNetwork(sizes["channels"], sizes["layers"], stem)
    return {**sizes, "stem": stem, **asdict(network_cost(network, genotype, _images(sizes)))}


def supernet_cost(space: str, given: Given, imagenet: bool, k: int) -> dict[str, Any]:
    """Return the sizes and the weights of the supernet of a space, without α and β.

    Raises:
        UsageError: The space does not have one of the sizes, or they do not fit.
    """
    found: SearchSpace = get_space(space)
    built: nn.Module
    if found.name == "darts_recurrent":
        _refuse(given, imagenet, "layers", "image_size")
        sizes = _filled(given, channels=300, classes=TOKENS)
        built = RecurrentSupernet(sizes["channels"]).build({"num_tokens": sizes["classes"]}, k)
    elif found.name == "nas_bench_201":
        _refuse(given, imagenet)
        sizes = _filled(given, channels=16, layers=5, classes=10, image_size=32)
        plain = NasBench201Supernet(sizes["channels"], sizes["layers"])
        built = plain.build(_images(sizes), k)
    elif found.name == RECONSTRUCTION_NAME:
        _refuse(given, imagenet, "layers", "classes", "image_size")
        sizes = _filled(given, channels=16)
        unrolled = ReconstructionSupernet(channels=sizes["channels"])
        return {**sizes, "k": k, **_by_dims(lambda spec: unrolled.build(spec, k))}
    else:
        stem: StemName = "imagenet" if imagenet else "cifar"
        layers = individual_layers(found.name)
        sizes = _filled(
            given, channels=16, layers=layers or 8, classes=CLASSES[stem], image_size=PIXELS[stem]
        )
        individual = layers is not None
        cells = DartsSupernet(sizes["channels"], sizes["layers"], stem, individual=individual)
        built = cells.build(_images(sizes), k)
    return {**sizes, "k": k, "parameters": count_parameters(built)}


def _by_dims(build: Callable[[dict[str, Any]], nn.Module]) -> dict[str, int]:
    """Count the parameters for signals and images of one channel; the operator has none."""
    spec = {"in_channels": 1, "operator": Identity().to_config()}
    names = {1: "parameters_for_signals", 2: "parameters_for_images"}
    return {name: count_parameters(build({**spec, "dims": dims})) for dims, name in names.items()}


def _filled(given: Given, **defaults: int) -> dict[str, int]:
    """Return the sizes given, with defaults for the others."""
    return {name: given[name] or default for name, default in defaults.items()}


def _refuse(given: Given, imagenet: bool, *names: str) -> None:
    """Refuse sizes that a space does not have."""
    wrong = [name.replace("_", "-") for name in names if given[name] is not None]
    wrong += ["imagenet"] if imagenet else []
    if wrong:
        raise UsageError(f"--{wrong[0]} means nothing in this search space")


def _images(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of the data for colour images."""
    return {
        "in_channels": 3,
        "num_classes": sizes["classes"],
        "image_size": sizes["image_size"],
    }
