"""Every number that a configuration can set is checked, with one line that says its range.

The arguments are found by introspection, so that a new one cannot be forgotten.
"""

import importlib
import inspect
import math
import pkgutil
import typing
from abc import ABC
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning import Callback, LightningDataModule
from torch.optim import Optimizer

from nas_lightning.architecture import NetworkFactory, SearchSpace
from nas_lightning.errors import UsageError
from nas_lightning.operators import Operator
from nas_lightning.search import SearchStrategy
from nas_lightning.supernet import SupernetFactory
from nas_lightning.tasks import Task
from nas_lightning.training.schedules import Schedule
from nas_lightning.training.stage import Stage
from tests.conftest import SPEC, tiny_supernet

KINDS = (
    Callback, LightningDataModule, NetworkFactory, Operator, Optimizer, Schedule, SearchSpace,
    SearchStrategy, Stage, SupernetFactory, Task,
)  # fmt: skip
PACKAGES = (
    "callbacks", "data", "operators", "retrain", "search", "spaces", "strategies", "tasks",
    "training",
)  # fmt: skip
GIVEN: dict[str, dict[str, Any]] = {
    "ExponentiatedGradientOptimizer": {"params": [torch.zeros(2)]},
    "IndividualDartsSpace": {"layers": 3},
    "Inpainting": {"size": 8},
    "ResourcePenalty": {"resource": "macs", "budget": 1e6},
    "RetrainModule": {"data_spec": SPEC, "genotype": "DARTS_V2", "auxiliary_weight": 0.0},
    "SearchModule": {"data_spec": SPEC, "supernet": tiny_supernet()},
}
"""Arguments without a default, and settings under which others count."""

NEVER: list[Any] = [math.nan, math.inf, -math.inf, 1e300, 10**40, True, "many"]
ZERO = {
    "activation", "arch_gradient_clip", "auxiliary_weight", "background", "beta of AuxiliarySkip",
    "bptt_jitter", "epsilon of SmoothDARTS", "epsilon_start", "broken_images", "center",
    "coefficient of Backtracking", "cutout", "decay of SkipDropout", "drop_path", "dropout",
    "dropout_embedding", "dropout_hidden", "dropout_input", "dropout_word", "edge_lr", "entropy",
    "epochs", "eta_min", "first_epoch", "frozen", "gradient_clip", "half_probability",
    "hold_epochs", "ignore_index", "kl", "label_smoothing", "lr", "max_extra", "most", "noise",
    "nonmono", "num_workers", "patience", "rate of Backtracking", "rate of SkipDropout", "rho",
    "seed", "slowness", "start", "tail_epochs", "terms", "threshold of FairDARTS",
    "threshold of OLES", "val_fraction", "warmup", "warmup_epochs", "weight",
    *(f"{name} of CDARTS" for name in ("clip", "coefficient", "momentum", "pretrain_epochs")),
    *(f"{name} of CDARTS" for name in ("rate_end", "weight_decay")),
    "tuning_epochs",
}  # fmt: skip
"""Arguments that may be 0."""
NEGATIVE = {"center", "ignore_index", "start", "threshold of OLES"}
"""Arguments that may be negative."""
WITHOUT_RANGE = {
    ("RunCheckpoint", name) for name in ("save_top_k", "every_n_train_steps", "every_n_epochs")
}
"""Arguments that are refused whatever their value, see tests/callbacks/test_run_checkpoint.py."""


def classes() -> Iterator[type]:
    """Yield the classes that a configuration can name."""
    for package in PACKAGES:
        top = importlib.import_module(f"nas_lightning.{package}")
        paths = getattr(top, "__path__", [])
        found = pkgutil.walk_packages(paths, f"{top.__name__}.")
        for module in (top, *(importlib.import_module(each.name) for each in found)):
            for cls in vars(module).values():
                own = inspect.isclass(cls) and cls.__module__ == module.__name__
                if own and issubclass(cls, KINDS) and not inspect.isabstract(cls):
                    abstract = ABC in cls.__bases__ or cls.__name__.startswith("_")
                    if not abstract and not cls.__name__.startswith("Image"):  # these read folders
                        yield cls


def hints(cls: type) -> dict[str, Any]:
    """Return the types of the arguments of a class, with those that it passes to its base."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("nas_lightning") and "__init__" in vars(base):
            init = vars(base)["__init__"]
            found = {**typing.get_type_hints(init), **found}
            if "kwargs" not in inspect.signature(init).parameters:
                break
    return found


def numbers() -> Iterator[tuple[type, str, bool]]:
    """Yield class, argument, and True for whole numbers."""
    for cls in classes():
        for name, hint in hints(cls).items():
            parts = [hint, *typing.get_args(hint)]
            if name == "return" or (cls.__name__, name) in WITHOUT_RANGE:
                continue
            if int in parts or float in parts:
                yield cls, name, float not in parts


NUMBERS = list(numbers())


def made(cls: type, name: str, value: Any) -> str | None:
    """Return the message with which a value is refused; `None` if it is accepted."""
    arguments = {**GIVEN.get(cls.__name__, {}), name: value}
    if cls.__name__ == "ExponentiatedGradient":
        arguments["edges"] = True
    try:
        cls(**arguments)
    except UsageError as error:
        return str(error)
    return None


def test_the_arguments_are_found() -> None:
    found = {(cls.__name__, name) for cls, name, _ in NUMBERS}
    assert {
        ("GDAS", "tau"), ("SearchModule", "gradient_clip"), ("CIFAR100", "batch_size"),
        ("DartsNetwork", "layers"), ("Blur", "sigma"), ("RollBackOnNaN", "patience"),
        ("CosineSchedule", "eta_min"), ("LanguageModeling", "slowness"),
    } <= found  # fmt: skip
    assert len(found) > 120


@pytest.mark.parametrize(
    ("cls", "name", "whole"), NUMBERS, ids=[f"{cls.__name__}-{name}" for cls, name, _ in NUMBERS]
)
def test_senseless_values_are_refused_in_one_line(cls: type, name: str, whole: bool) -> None:
    zero = [] if {name, f"{name} of {cls.__name__}"} & ZERO else [0]
    negative = [] if {name, f"{name} of {cls.__name__}"} & NEGATIVE else [-1]
    for value in [*NEVER, *zero, *negative, *([2.5] if whole else [])]:
        message = made(cls, name, value)
        assert message is not None, f"{value} is accepted"
        assert name in message
        assert "\n" not in message
        assert not message.endswith(":")
        assert "must be" in message
        assert f"found {value!r:.30}" in message
    if not zero:
        assert made(cls, name, 0) is None
