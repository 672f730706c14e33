"""Every shipped configuration, in small sizes: rebuilt from a checkpoint, resumed bit for bit."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback, LightningDataModule, LightningModule, Trainer

from nas_lightning.architecture import random_genotype
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.spaces import get_space
from tests.configs.test_shipped import CONFIGS, space_of, synthetic
from tests.conftest import TrainerFactory

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


def build(name: str, folder: Path) -> tuple[LightningModule, LightningDataModule]:
    """Model and data of a configuration, with small networks and synthetic data."""
    given = yaml.safe_load(CONFIGS[name].read_text())["model"]["init_args"]
    part = "network" if "retrain" in name else "supernet"
    kind = given[part]["class_path"]
    arguments = [f"--model.{part}.{key}={value}" for key, value in SMALL[kind].items()]
    stages = yaml.safe_load(CONFIGS[name].read_text()).get("stages", {})
    arguments += [f"--stages.{key}={SMALL[kind][key]}" for key in stages if key in SMALL[kind]]
    if part == "network":
        space = get_space(space_of(CONFIGS[name]))
        random_genotype(space, seed=0).save(folder / "genotype.json")
        arguments += ["--model.genotype", str(folder / "genotype.json")]
    configs = [str(CONFIGS[name]), str(synthetic(CONFIGS[name], folder))]
    cli = PlanCLI(["fit", *(x for c in configs for x in ("--config", c)), *arguments])
    return cli.model, cli.datamodule


class Save(Callback):
    """Saves behind the first batch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        if trainer.fit_loop.batch_idx == 0:
            trainer.save_checkpoint(self.path, weights_only=False)


@pytest.mark.parametrize("name", CONFIGS)
def test_rebuilt_and_resumed(name: str, tmp_path: Path, make_trainer: TrainerFactory) -> None:
    def trainer(*callbacks: Callback) -> Trainer:
        settings: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 2}
        return make_trainer(**settings, limit_val_batches=0, callbacks=list(callbacks))

    straight, data = build(name, tmp_path)
    second, again = build(name, tmp_path)
    fresh = second.state_dict()
    for key, value in straight.state_dict().items():
        assert torch.equal(value, fresh[key]), key  # one seed, one start
    path = tmp_path / "middle.ckpt"
    trainer(Save(path)).fit(straight, datamodule=data)
    trainer().fit(second, datamodule=again, ckpt_path=path, weights_only=True)
    for key, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key

    rebuilt = type(straight).load_from_checkpoint(path, weights_only=True, map_location="cpu")
    saved = torch.load(path, weights_only=True)["state_dict"]
    for key, value in rebuilt.state_dict().items():
        assert torch.equal(value, saved[key]), key
    if isinstance(straight, SearchModule) and isinstance(rebuilt, SearchModule):
        assert repr(rebuilt.strategies) == repr(straight.strategies)
        assert rebuilt.plan.describe() == straight.plan.describe()
        assert repr(pickle.loads(pickle.dumps(rebuilt.strategies))) == repr(straight.strategies)
