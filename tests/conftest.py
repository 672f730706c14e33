"""Shared fixtures: a small search space, synthetic data, and one thread a process."""

import tests.listening  # noqa: F401 (before nas_lightning, which notes what is ignored)

# isort: split

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Trainer
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # ships no types

from nas_lightning.data import Synthetic
from nas_lightning.search import SearchModule, SearchStrategy
from nas_lightning.spaces import DartsSupernet

torch.set_num_threads(1)  # tests run in two processes on two cores

SPEC = {"in_channels": 3, "num_classes": 4, "image_size": 8}
PRIMITIVES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")

RECORDED = ("tests/golden/", "tests/contract/")
"""Tests that read recorded runs, see `tests/recorded.py`."""

SearchFactory = Callable[..., SearchModule]
TrainerFactory = Callable[..., Trainer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests in a random order if `NAS_TEST_SHUFFLE` names a seed."""
    if seed := os.environ.get("NAS_TEST_SHUFFLE"):
        random.Random(seed).shuffle(items)


def scope_of(nodeid: str) -> str:
    """Return the name of the group of tests that one worker of pytest-xdist runs.

    Tests of a file share its fixtures. Tests of a method share its recorded run, in whichever file
    they are, and all files of `tests/ddp` share the runs of two processes.
    """
    file, _, name = nodeid.partition("::")
    if file.startswith(RECORDED) and "[" in name:
        return f"recorded run of {name.partition('[')[2].partition('-')[0].rstrip(']')}"
    return "tests/ddp" if file.startswith("tests/ddp/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Schedule by `scope_of`; xdist 3.8 does not see its own groups with pytest 9.2."""

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc] # has no type
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return Scheduler(config, log)


def tiny_supernet() -> DartsSupernet:
    """Two nodes (5 edges), four primitives, three cells: one normal and two reductions."""
    return DartsSupernet(channels=8, layers=3, nodes=2, primitives=PRIMITIVES)


def quiet_trainer(**kwargs: Any) -> Trainer:
    """A trainer for the CPU that writes nothing unless told to."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return Trainer(**{**settings, **kwargs})


@pytest.fixture
def make_search() -> SearchFactory:
    """Builds a small search from strategies, the same weights each time."""

    def make(
        strategies: Sequence[SearchStrategy] = (), seed: int = 0, **kwargs: Any
    ) -> SearchModule:
        lightning.seed_everything(seed, verbose=False)
        return SearchModule(SPEC, tiny_supernet(), strategies=list(strategies), **kwargs)

    return make


@pytest.fixture
def search_data() -> Synthetic:
    """Four classes, 8x8 pixels, two halves of 32 samples."""
    return Synthetic(
        in_channels=3, num_classes=4, image_size=8, train_size=64, test_size=16, batch_size=8
    )


@pytest.fixture
def make_trainer(tmp_path: Path) -> TrainerFactory:
    """Builds a quiet CPU trainer that writes nothing unless told to."""

    return partial(quiet_trainer, default_root_dir=tmp_path)
