"""`stages`: settings that are given once for search and retraining."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from jsonargparse import Namespace, dict_to_namespace

from nas_lightning.errors import UsageError
from nas_lightning.hparams import to_config
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from nas_lightning.spaces import default_network, load_genotype


@dataclass
class Stages:
    """Settings for search and retraining alike. They win over values given elsewhere.

    Put them into one file and give it to both. Each replaces the value at its own place in the
    configuration.

    Args:
        channels: C of the first cell of the supernet or network.
        layers: Number of cells of the supernet or network.
        drop_path: Probability of dropping a path at the end of the run.
        auxiliary_weight: Weight of the auxiliary head's loss; 0 means no head.
        cutout: Side in pixels of the square that training blanks in each image.
        weight_decay: Weight decay of the optimizer of the network's weights.
    """

    channels: int | None = None
    layers: int | None = None
    drop_path: float | None = None
    auxiliary_weight: float | None = None
    cutout: int | None = None
    weight_decay: float | None = None


NETWORK = {SearchModule: "supernet", RetrainModule: "network"}
OPTIMIZER = {SearchModule: "weight_optimizer", RetrainModule: "optimizer"}


def write_stages(config: Namespace) -> None:
    """Write the shared settings of a configuration to their places.

    They are then emptied, so that the saved configuration has every value in one place only.

    Raises:
        UsageError: The run has no such setting.
    """
    given = {name: value for name, value in vars(config.stages).items() if value is not None}
    if not given:
        return
    kind = stage_kind(config)
    if kind is None:
        raise UsageError(f"stages: {config.model.class_path} is neither a search nor a retraining")
    places = _places(kind)
    network = f"model.init_args.{NETWORK[kind]}"
    if (
        kind is RetrainModule
        and config.get(network) is None
        and given.keys() & {"channels", "layers"}
    ):
        config[network] = _default_network(config.model.init_args.genotype)
    for name, value in given.items():
        if places[name] not in config:
            owner = places[name].rpartition(".init_args.")[0].replace(".init_args", "")
            raise UsageError(
                f"stages.{name}: {owner} of this run has no {name}{_hint(name, owner)}"
            )
        config[places[name]] = value
        config.stages[name] = None


def stage_kind(config: Namespace) -> type[SearchModule] | type[RetrainModule] | None:
    """Return the class of the run: search or retraining; `None` for others."""
    module, _, name = config.model.class_path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    kinds: tuple[type[SearchModule], type[RetrainModule]] = (SearchModule, RetrainModule)
    return next((kind for kind in kinds if issubclass(found, kind)), None)


def _places(kind: type[SearchModule] | type[RetrainModule]) -> dict[str, str]:
    """Return the key of each setting in the configuration of a run."""
    network, optimizer = NETWORK[kind], OPTIMIZER[kind]
    return {
        "channels": f"model.init_args.{network}.init_args.channels",
        "layers": f"model.init_args.{network}.init_args.layers",
        "drop_path": "model.init_args.drop_path",
        "auxiliary_weight": "model.init_args.auxiliary_weight",
        "cutout": "data.init_args.cutout",
        "weight_decay": f"model.init_args.{optimizer}.init_args.weight_decay",
    }


def _default_network(genotype: Any) -> Namespace:
    """Return the configuration of the network that is built by default."""
    found: Namespace = dict_to_namespace(to_config(default_network(load_genotype(genotype).space)))
    return found


def _hint(name: str, owner: str) -> str:
    if name != "weight_decay":
        return ""
    return f"; name the optimizer by its class, such as {owner}.class_path: torch.optim.SGD"
