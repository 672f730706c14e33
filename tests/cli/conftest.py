"""A working directory with small configurations, and `nas` as a function."""

import json
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
checkpoint: {monitor: retrain/val_accuracy, mode: max, save_top_k: 1}
trainer: {accelerator: cpu, max_epochs: 1, enable_model_summary: false}
"""


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Nas = Callable[..., Result]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `search.yaml`, `retrain.yaml` and `genotype.json`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_DEBUG", raising=False)
    Path("search.yaml").write_text(SEARCH, encoding="utf-8")
    Path("retrain.yaml").write_text(RETRAIN, encoding="utf-8")
    Path("genotype.json").write_text(json.dumps(PUBLISHED["DARTS_V2"].to_dict()), "utf-8")
    return tmp_path


@pytest.fixture
def nas(work: Path, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Runs `nas` in this process: `nas("info DARTS_V2")`, more arguments as they are."""

    def run(line: str, *more: str) -> Result:
        capsys.readouterr()
        code = main([*line.split(), *more])
        return Result(code, *capsys.readouterr())

    return run
