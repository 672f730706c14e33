"""Every shipped configuration, found by glob, runs one batch of each loop on synthetic data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_lightning.architecture import random_genotype
from nas_lightning.cli import main
from nas_lightning.runs.configs import shipped, summary
from nas_lightning.spaces import get_space

CONFIGS = shipped()
# channels, classes and pixels of the images that each configuration, or its family, is for
SHAPES = {
    "digits": (1, 10, 8),
    "cifar": (3, 10, 32),
    "cifar100": (3, 100, 32),
    "folder": (3, 10, 64),
    "imagenet": (3, 10, 64),
    "imagenet_retrain": (3, 10, 224),  # the auxiliary head needs them
    "nb201": (3, 10, 32),
}
# one process on a CPU, one batch
TRAINER = {
    "fast_dev_run": True,
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
}
# by network
SPACES = {
    "DartsNetwork": "darts",
    "NasBench201Network": "nas_bench_201",
    "ReconstructionNetwork": "reconstruction",
    "RecurrentNetwork": "darts_recurrent",
}


def images(config: Path) -> dict[str, Any]:
    """Synthetic images in place of a configuration's own."""
    family = config.stem.split("_")[0]
    channels, classes, pixels = SHAPES.get(config.stem, SHAPES[family])
    given = yaml.safe_load(config.read_text())["data"]["init_args"]
    arguments = {
        "in_channels": channels,
        "num_classes": classes,
        "image_size": pixels,
        "train_size": 16,
        "test_size": 4,
        "batch_size": 4,
        "arch_fraction": 0.5,
        "val_fraction": 0.25,
        "num_workers": 0,
        "on_device": given.get("on_device", False),
    }
    return {"class_path": "Synthetic", "init_args": arguments}


def text() -> dict[str, Any]:
    """Synthetic text in place of a configuration's own."""
    sizes = {"num_tokens": 16, "train_size": 256, "valid_size": 256, "test_size": 256}
    return {"class_path": "SyntheticText", "init_args": {**sizes, "batch_size": 4, "bptt": 8}}


def measurements(given: dict[str, Any]) -> dict[str, Any]:
    """Few signals or photographs of a configuration's own; they need no files."""
    sizes = {"train_size": 16, "test_size": 4, "batch_size": 4, "val_fraction": 0.25}
    return {"class_path": given["class_path"], "init_args": sizes}


def synthetic(config: Path, folder: Path) -> Path:
    """A configuration that replaces the data, and the lengths of the run, of another."""
    given = yaml.safe_load(config.read_text())["data"]
    if given["class_path"] in ("Signals", "Photographs"):
        data = measurements(given)
    else:
        data = text() if given["class_path"] == "TextData" else images(config)
    data["init_args"]["mode"] = given["init_args"]["mode"]
    changes = {
        "data": data,
        "trainer": TRAINER,
        "run_dir": str(folder / "run"),
    }
    path = folder / "synthetic.yaml"
    path.write_text(yaml.safe_dump(changes))
    return path


def space_of(config: Path) -> str:
    """The search space whose genotypes a configuration retrains."""
    network = yaml.safe_load(config.read_text())["model"]["init_args"].get("network")
    return SPACES[network["class_path"]] if network else "darts"


@pytest.mark.parametrize("name", CONFIGS)
def test_it_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--config",
        str(CONFIGS[name]),
        "--config",
        str(synthetic(CONFIGS[name], tmp_path)),
    ]
    if "retrain" in name:
        genotype = tmp_path / "genotype.json"
        random_genotype(get_space(space_of(CONFIGS[name])), seed=0).save(genotype)
        arguments += ["--model.genotype", str(genotype)]
    assert main(["fit", *arguments]) == 0, capsys.readouterr().err
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", CONFIGS)
def test_its_first_line_and_its_run_directory_say_what_it_is(name: str) -> None:
    assert len(summary(CONFIGS[name])) > 20
    assert yaml.safe_load(CONFIGS[name].read_text())["run_dir"] == f"runs/{Path(name).stem}"


def test_all_of_the_promised_configurations_are_there() -> None:
    promised = "digits_idarts digits_retrain cifar_darts cifar_pcdarts cifar_idarts cifar_retrain"
    promised += " cifar100_idarts folder_idarts folder_retrain ptb_recurrent ptb_recurrent_retrain"
    promised += " wikitext_recurrent wikitext_recurrent_retrain"
    problems = [
        "signal_deblur",
        "signal_superres",
        "signal_denoise",
        "image_deblur",
        "image_inpaint",
    ]
    promised += "".join(f" {problem} {problem}_retrain" for problem in problems)
    promised += " imagenet_pcdarts imagenet_idarts imagenet_gaea imagenet_retrain"
    assert {f"{name}.yaml" for name in promised.split()} <= set(CONFIGS)
