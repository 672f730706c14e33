"""A working directory with small configurations, `nas` as a function, and finished runs."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nas_lightning.cli import main
from nas_lightning.spaces import PUBLISHED

SEARCH = """\
# a small search
seed_everything: 0
run_dir: runs/search
model:
  class_path: SearchModule
  init_args:
    supernet:
      class_path: DartsSupernet
      init_args:
        channels: 8
        layers: 3
        nodes: 2
        primitives: [none, max_pool_3x3, skip_connect, sep_conv_3x3]
    strategies:
      - {class_path: WarmUp, init_args: {epochs: 1}}
      - {class_path: PartialChannels, init_args: {k: 4}}
      - class_path: EdgeNormalization
data:
  class_path: Synthetic
  init_args: {num_classes: 4, image_size: 8, train_size: 32, test_size: 20, batch_size: 8}
trainer: {accelerator: cpu, max_epochs: 1, enable_model_summary: false}
"""
RETRAIN = """\
# a small retraining
seed_everything: 0
run_dir: runs/retrain
model:
  class_path: RetrainModule
  init_args:
    network: {class_path: DartsNetwork, init_args: {channels: 4, layers: 3}}
    auxiliary_weight: 0.0
    drop_path: 0.0
data:
  class_path: Synthetic
  init_args:
    mode: retrain
    val_fraction: 0.25
    num_classes: 4
    image_size: 8
    train_size: 32
    test_size: 20
    batch_size: 8
checkpoint: {monitor: retrain/val_accuracy}
trainer: {accelerator: cpu, max_epochs: 1, enable_model_summary: false}
"""
LONG = (
    "fit --config search --data.train_size 64 --trainer.max_epochs 3 --trainer.log_every_n_steps 2"
)
"""A search of three epochs with four batches each."""


class Result(NamedTuple):
    """The exit code of a command, and its output."""

    code: int
    out: str
    err: str


Nas = Callable[..., Result]


def write_inputs(folder: Path) -> None:
    """Write `search.yaml`, `retrain.yaml` and `genotype.json`."""
    (folder / "search.yaml").write_text(SEARCH, encoding="utf-8")
    (folder / "retrain.yaml").write_text(RETRAIN, encoding="utf-8")
    genotype = json.dumps(PUBLISHED["DARTS_V2"].to_dict())
    (folder / "genotype.json").write_text(genotype, encoding="utf-8")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `search.yaml`, `retrain.yaml` and `genotype.json`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DEBUG", raising=False)
    write_inputs(tmp_path)
    return tmp_path


@pytest.fixture
def nas(work: Path, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Runs `nas` in this process: `nas("info DARTS_V2")`, more arguments as they are."""

    def run(line: str, *more: str) -> Result:
        capsys.readouterr()
        code = main([*line.split(), *more])
        return Result(code, *capsys.readouterr())

    return run


MADE: dict[str, Path] = {}
"""Folders of `run_once` by command line."""


def run_once(factory: pytest.TempPathFactory, line: str) -> Path:
    """Return a folder in which a command has run. It is made once, and is not to be changed."""
    if line not in MADE:  # not a fixture of the session: each conftest.py would run it again
        folder = factory.mktemp("made")
        write_inputs(folder)
        with contextlib.chdir(folder):
            assert main(line.split()) == 0
        MADE[line] = folder
    return MADE[line]


@pytest.fixture
def searched(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs/search` in the working directory, as `nas fit --config search` leaves it."""
    made = run_once(tmp_path_factory, "fit --config search")
    shutil.copytree(made / "runs/search", work / "runs/search")
    return Path("runs/search")


@pytest.fixture
def retrained(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs/retrain` in the working directory, as a fit of `genotype.json` leaves it."""
    made = run_once(tmp_path_factory, "fit --config retrain --model.genotype genotype.json")
    shutil.copytree(made / "runs/retrain", work / "runs/retrain")
    return Path("runs/retrain")


@pytest.fixture
def whole(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole` in the working directory, the run directory of `LONG`."""
    made = run_once(tmp_path_factory, f"{LONG} --run_dir whole")
    shutil.copytree(made / "whole", work / "whole")
    return Path("whole")
