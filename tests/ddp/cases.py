"""What is run on one process and on two: every method, every shipped search, averaged weights.

Dropout and drop path are 0: their draws are each process' own, by design.
"""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
import yaml
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor

from nas_lightning.architecture import random_genotype
from nas_lightning.callbacks import AverageWeights
from nas_lightning.callbacks.cell_agreement import CellAgreement
from nas_lightning.data import Synthetic
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import ChoiceSupernet, DartsNetwork, DartsSupernet, get_space
from nas_lightning.strategies import GDAS, ReferenceCell, ResourcePenalty, SkipDropout
from nas_lightning.training.stage import Stage
from tests.configs.shrink import CONFIGS, SELECTIONS, second_network, sizes_of, space_of, synthetic
from tests.conftest import SPEC, quiet_trainer
from tests.ddp.joint_norm import join_norms
from tests.methods import METHODS_AND_MONITORS, fresh
from tests.tasks.pairs import TASKS, Pairs, retraining

BATCH = 8
"""Of all processes together."""
SIZE = 4 * BATCH
"""Of the data: an epoch has more batches than run, so it matters which samples are in the first."""
# few batch norms: each is a conversation between the processes
PRIMITIVES = ("none", "skip_connect", "dil_conv_3x3")
DROPOUTS = ("dropout", "dropout_hidden", "dropout_input", "dropout_embedding")

Parts = tuple[LightningModule, LightningDataModule]


class Case(NamedTuple):
    """A run, as one process does it.

    Attributes:
        build: A folder → module and data, which are pickled.
        settings: Of the trainer.
        callbacks: Fresh ones.
    """

    build: Callable[[Path], Parts]
    settings: dict[str, Any]
    callbacks: Callable[[], list[Callback]] = list


def small_search(*strategies: SearchStrategy) -> Parts:
    """The smallest of searches."""
    lightning.seed_everything(0, verbose=False)
    data = Synthetic(
        in_channels=3,
        num_classes=4,
        image_size=8,
        train_size=SIZE,
        test_size=BATCH,
        batch_size=BATCH,
    )
    supernet = DartsSupernet(channels=8, layers=3, nodes=2, primitives=PRIMITIVES)
    return SearchModule(SPEC, supernet, strategies=list(strategies)), data


def choices(*strategies: SearchStrategy) -> Case:
    """A search of a network with choices: nested, shared by a group, and called twice."""

    def build(folder: Path) -> Parts:
        _, data = small_search()
        supernet = ChoiceSupernet("tests.spaces.choice.networks.Chain")
        return SearchModule(SPEC, supernet, strategies=copy.deepcopy(list(strategies))), data

    return Case(build, {"max_epochs": 2, "limit_train_batches": 1, "limit_val_batches": 0})


def without_dropout(strategies: list[SearchStrategy]) -> list[SearchStrategy]:
    """Switch off the dropout of strategies."""
    for strategy in strategies:
        if isinstance(strategy, SkipDropout):
            strategy.rate = 0.0
    return strategies


def method(name: str) -> Case:
    """A method of the contract; some change in the second epoch."""
    epochs = 1 if name == "robust_darts" else 2  # a Hessian each
    # with one path, it happens that nothing reads an input of a cell. Its weights then have no
    # gradient in a reference cell, but one of zero in a fast cell, so that momentum moves them
    plain = [ReferenceCell()] if name.startswith("binary_gates") else []
    validation = 2 if name == "darts_pt" else 0  # what it measures on
    return Case(
        lambda folder: small_search(*without_dropout(fresh(name)), *plain),
        {"max_epochs": epochs, "limit_train_batches": 1, "limit_val_batches": validation},
    )


def needs_room(config: Path) -> bool:
    """Whether a network halves its images too often for small ones, or has an auxiliary head."""
    words = ("stem: imagenet", "auxiliary_weight", "MobileNetwork", "NasBenchMacroNetwork")
    return any(word in config.read_text() for word in words)


def config(name: str, **settings: Any) -> Case:
    """A shipped configuration with a small network, synthetic data and its own seed."""

    def build(folder: Path) -> Parts:
        folder.mkdir(parents=True, exist_ok=True)
        given = yaml.safe_load(CONFIGS[name].read_text())
        part = "network" if "retrain" in name else "supernet"
        kind = given["model"]["init_args"][part]["class_path"]
        small: dict[str, Any] = dict(sizes_of(given["model"]["init_args"][part]))
        if "ProgressiveChannels" in CONFIGS[name].read_text():
            small |= {"channels": 12}  # a multiple of all K
        elif kind == "DartsSupernet":
            small["primitives"] = json.dumps(PRIMITIVES)
        if text := kind.startswith("Recurrent"):
            small |= dict.fromkeys([*DROPOUTS, *(["dropout_word"] if part == "network" else [])], 0)
        arguments = [f"--model.{part}.{key}={value}" for key, value in small.items()]
        arguments += [f"--stages.{k}={small[k]}" for k in given.get("stages", {}) if k in small]
        arguments += [f"--data.batch_size={BATCH}", *second_network(CONFIGS[name])]
        # one path, see `method`; or many operations, whose norms the fast cell computes as one
        if name == "cifar_gdas.yaml" or "ProgressiveChannels" in CONFIGS[name].read_text():
            arguments += ["--model.strategies+=ReferenceCell"]
        configs = [CONFIGS[name], synthetic(CONFIGS[name], folder)]
        data = yaml.safe_load(configs[1].read_text())["data"]
        size = max(SIZE, 2 * data["init_args"].get("num_classes", 0))  # every class has samples
        arguments += [] if text else [f"--data.train_size={size}"]
        images = data["class_path"] == "Synthetic"
        if images and not needs_room(CONFIGS[name]):
            arguments += ["--data.image_size=8"]
        if part == "network":
            random_genotype(get_space(space_of(CONFIGS[name])), seed=0).save(folder / "g.json")
            arguments += ["--model.genotype", str(folder / "g.json")]
        arguments += SELECTIONS.get(name, [])
        cli = PlanCLI(["fit", *(x for c in configs for x in ("--config", str(c))), *arguments])
        assert isinstance(cli.model, Stage)
        cli.model.drop_path = 0.0
        without_dropout(getattr(cli.model, "strategies", []))
        return cli.model, cli.datamodule

    batches = 2 if "recurrent" in name else 1  # texts carry a state from one to the next
    return Case(build, {"limit_train_batches": batches, "limit_val_batches": 1, **settings})


SEARCHES = [name for name in CONFIGS if "retrain" not in name]
FAMILIES = [
    *("digits_idarts.yaml", "cifar_pcdarts.yaml", "imagenet_gaea.yaml", "nb201_gaea_gdas.yaml"),
    *("ptb_recurrent.yaml", "signal_deblur.yaml", "image_inpaint.yaml"),
]
"""One search of each family of data, each space and each size of images."""


def task(name: str) -> Case:
    """A retraining with another task than classification, and batch norms without a state."""

    def build(folder: Path) -> Parts:
        lightning.seed_everything(0, verbose=False)
        data = Pairs(name, count=SIZE, batch_size=BATCH, mode="retrain", val_fraction=0.5)
        return retraining(name), data

    return Case(build, {"limit_train_batches": 2})


PAIRS_OF_METHODS = {
    *("gaea_gdas", "gdas_second_order", "gdas_amended", "binary_gates_second_order"),
    *("sgas_second_order", "gaea_pcdarts", "amended_gaea_two_stage", "amended_gaea_idarts"),
}
"""Methods of strategies that other cases have, one by one."""
CASES: dict[str, Case] = {
    **{name: method(name) for name in METHODS_AND_MONITORS if name not in PAIRS_OF_METHODS},
    **{name: config(name) for name in FAMILIES},
    "choices": choices(),
    "choices, gdas": choices(GDAS()),
    "budget as a product": Case(
        lambda folder: small_search(
            ResourcePenalty("parameters", 2500, "product", 0.5, network=DartsNetwork(4, 3))
        ),
        {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0},
    ),
    "agreement of cells": Case(
        lambda folder: small_search(),
        {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0},
        lambda: [CellAgreement(every=1)],
    ),
    "retrained": config("digits_retrain.yaml"),
    **{name: task(name) for name in TASKS},
    "averaged weights": config("ptb_recurrent_retrain.yaml", max_epochs=4)._replace(
        callbacks=lambda: [AverageWeights(nonmono=0)]
    ),
}
FURTHER = {
    **{name: method(name) for name in sorted(PAIRS_OF_METHODS)},
    **{
        name: config(name, max_epochs=2 if name in SELECTIONS else 1)
        for name in SEARCHES
        if name not in FAMILIES
    },
}
"""Pairs of methods and the other shipped searches, for `make test-all`."""


class Trace(Callback):
    """Keeps all parameters after every batch."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        self.steps.append({n: p.detach().clone() for n, p in pl_module.named_parameters()})


def ddp(module: LightningModule) -> str:
    """The trainer's strategy that the module needs."""
    unused = any(s.leaves_parameters_unused for s in getattr(module, "strategies", ()))
    return "ddp_find_unused_parameters_true" if unused else "ddp"


def spoil(module: LightningModule) -> None:
    """Let the second process start elsewhere: α, weights and draws must come from the first."""
    if os.environ["RANK"] == "1":
        assert isinstance(module, Stage)
        module.draw_seed += 1
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)


def share(data: LightningDataModule, processes: int) -> None:
    """Make a batch that of one of so many processes."""
    for name in ("batch_size", "arch_batch_size", "eval_batch_size"):
        if hasattr(data, name):
            setattr(data, name, getattr(data, name) // processes)


def run(case: Case, parts: Parts, processes: int) -> dict[str, Any]:
    """What a run on so many processes gives, in float64.

    Returns:
        `steps`: the parameters after each batch; `state` at the end, with averages; `metrics`
        of the last epoch.
    """
    module, data = parts
    trace, callbacks = Trace(), case.callbacks()
    settings: dict[str, Any] = {"max_epochs": 1, "num_sanity_val_steps": 0, **case.settings}
    if processes > 1:
        spoil(module)
        join_norms(module)
        share(data, processes)
        settings |= {"devices": processes, "strategy": ddp(module)}
    trainer = quiet_trainer(precision="64-true", callbacks=[trace, *callbacks], **settings)
    trainer.fit(module, datamodule=data)
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    for callback in callbacks:
        if isinstance(callback, AverageWeights):
            assert callback.averaged
            state |= {f"mean.{name}": value for name, value in callback._other.items()}
    # those of single batches are each process' own
    metrics = {n: v for n, v in trainer.callback_metrics.items() if not n.endswith("_step")}
    return {"steps": trace.steps, "state": state, "metrics": metrics}
