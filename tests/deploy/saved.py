"""Small retrainings of every space, each with a checkpoint after one step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning
from lightning import LightningDataModule

from nas_lightning.architecture import Genotype, NetworkFactory, random_genotype
from nas_lightning.data import Digits, Photographs, Signals, Synthetic, SyntheticText
from nas_lightning.operators import BlurDownsample
from nas_lightning.retrain import RetrainModule
from nas_lightning.spaces import (
    PUBLISHED,
    DartsNetwork,
    NasBench201Network,
    ReconstructionNetwork,
    RecurrentNetwork,
    get_space,
)
from nas_lightning.spaces.choice import ChoiceNetwork, ChoiceSupernet
from nas_lightning.tasks import Classification, LanguageModeling, Reconstruction, Task
from tests.conftest import quiet_trainer
from tests.spaces.choice.networks import Chain

SMALL: Mapping[str, int] = {"train_size": 16, "test_size": 8}


class Case(NamedTuple):
    """A retraining.

    Attributes:
        data: Class and arguments of the data.
        genotype: What is retrained.
        network: Its factory.
        task: Its task.
        auxiliary: Weight of the auxiliary head.
    """

    data: tuple[type[LightningDataModule], Mapping[str, Any]]
    genotype: Genotype
    network: NetworkFactory
    task: Task
    auxiliary: float = 0.0


def drawn(space: str, seed: int = 0) -> Genotype:
    return random_genotype(get_space(space), seed)


def choices() -> Genotype:
    """Candidates of a network with choices, written as a user would."""
    supernet = ChoiceSupernet(f"{Chain.__module__}.{Chain.__qualname__}")
    return random_genotype(supernet.space_of({"in_channels": 3, "num_classes": 3}), 0)


CASES: dict[str, Case] = {
    "darts": Case(
        (Digits, {}), PUBLISHED["DARTS_V2"], DartsNetwork(channels=4, layers=3), Classification()
    ),
    "auxiliary": Case(
        (Synthetic, {**SMALL, "image_size": 32, "num_classes": 3}),
        PUBLISHED["PC_DARTS_CIFAR"],
        DartsNetwork(channels=4, layers=3),
        Classification(),
        auxiliary=0.4,
    ),
    "imagenet": Case(
        (Synthetic, {**SMALL, "image_size": 64, "num_classes": 3}),
        PUBLISHED["NASNet"],
        DartsNetwork(channels=4, layers=3, stem="imagenet"),
        Classification(),
    ),
    "nas_bench_201": Case(
        (Synthetic, {**SMALL, "image_size": 8, "num_classes": 3}),
        drawn("nas_bench_201"),
        NasBench201Network(channels=4, cells=1),
        Classification(),
    ),
    "signals": Case(
        (Signals, {**SMALL, "size": 16, "operator": BlurDownsample()}),
        drawn("reconstruction", 1),
        ReconstructionNetwork(filters=2, channels=2),
        Reconstruction(),
    ),
    "photographs": Case(
        (Photographs, {**SMALL, "size": 16}),
        drawn("reconstruction"),
        ReconstructionNetwork(filters=2, channels=2),
        Reconstruction(),
    ),
    "choice": Case(
        (Synthetic, {**SMALL, "image_size": 8, "num_classes": 3}),
        choices(),
        ChoiceNetwork(),
        Classification(),
    ),
    "recurrent": Case(
        (SyntheticText, {"num_tokens": 7, "train_size": 400, "valid_size": 80, "test_size": 80}),
        PUBLISHED["DARTS_RNN_V2"],
        RecurrentNetwork(hidden=8),
        LanguageModeling(bptt=10),
    ),
}


def train(case: Case, file: Path) -> tuple[RetrainModule, LightningDataModule]:
    """Train for one step, and write a checkpoint."""
    lightning.seed_everything(0, verbose=False)
    kind, arguments = case.data
    data = kind(mode="retrain", batch_size=4, **arguments)
    spec: Any = data.data_spec  # type: ignore[attr-defined] # of all of them
    module = RetrainModule(
        spec, case.genotype.to_dict(), case.network, case.task, auxiliary_weight=case.auxiliary
    )
    trainer = quiet_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(file)
    return module.eval(), data
