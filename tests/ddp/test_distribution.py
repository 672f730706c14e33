"""Strategies that leave weights without a gradient run without a word to the trainer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas_lightning.distributed import finds_unused_parameters
from nas_lightning.runs.distribution import prepare_distribution
from nas_lightning.search import SearchStrategy
from nas_lightning.strategies import GDAS, SNAS, EdgeNormalization, TwoStage
from tests.configs.shrink import CONFIGS, synthetic
from tests.conftest import SearchFactory, TrainerFactory


@pytest.mark.parametrize(
    ("strategies", "given", "told"),
    [
        ([GDAS()], "auto", True),
        ([GDAS()], "ddp", True),
        ([EdgeNormalization(), TwoStage(1)], "auto", True),
        ([GDAS()], "ddp_find_unused_parameters_true", True),
        ([GDAS()], "ddp_find_unused_parameters_false", False),
        ([SNAS()], "auto", False),
        ([SNAS()], "ddp_find_unused_parameters_true", True),
    ],
)
def test_ddp_is_told_if_it_must_be(
    strategies: list[SearchStrategy],
    given: str,
    told: bool,
    make_search: SearchFactory,
    make_trainer: TrainerFactory,
) -> None:
    trainer = make_trainer(devices=2, strategy=given)
    prepare_distribution(trainer, make_search(strategies))
    assert finds_unused_parameters(trainer) == told


def test_one_process_needs_nothing(
    make_search: SearchFactory, make_trainer: TrainerFactory
) -> None:
    trainer = make_trainer()
    prepare_distribution(trainer, make_search([GDAS()]))
    assert finds_unused_parameters(trainer)


@pytest.mark.ddp
@pytest.mark.slow
def test_the_command_runs_gdas_on_two_processes(tmp_path: Path) -> None:
    """Two epochs, two checkpoints, one genotype; nothing but `devices` is set."""
    small = {"channels": 4, "layers": 3, "nodes": 2, "primitives": ["none", "sep_conv_3x3"]}
    changes = yaml.safe_load(synthetic(CONFIGS["cifar_gdas.yaml"], tmp_path).read_text())
    changes["model"] = {"init_args": {"supernet": {"init_args": small}}}
    changes["trainer"] = {"accelerator": "cpu", "devices": 2, "max_epochs": 2}
    changes["data"]["init_args"] |= {"batch_size": 2, "image_size": 8}
    file = tmp_path / "changes.yaml"
    file.write_text(yaml.safe_dump(changes))
    done = subprocess.run(
        [sys.executable, "-m", "nas_lightning", "fit", "--config", "cifar_gdas",
         "--config", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt")} == {
        "last.ckpt",
        "previous.ckpt",
    }
    assert (tmp_path / "run" / "genotype.json").is_file()
