"""Every shipped configuration, found by glob: built in full size and, for `make test-all`, run."""

from pathlib import Path

import pytest
import torch
import yaml

from nas_lightning.cli import main
from nas_lightning.runs.configs import summary
from nas_lightning.runs.preview import PlanCLI
from tests.configs.shrink import CONFIGS, full_size, small
from tests.methods import rest_long

TWINS = {"imagenet_cdarts.yaml", "imagenet_drnas.yaml"}
"""Large supernets, of which those for CIFAR-10 are built in the same way."""


@pytest.mark.parametrize("name", rest_long(CONFIGS, keep=CONFIGS.keys() - TWINS))
def test_its_full_size_is_built(name: str, tmp_path: Path) -> None:
    """On the device meta, without memory for it."""
    arguments = full_size(name, tmp_path)
    with torch.device("meta"):
        module = PlanCLI(arguments).model
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["digits_idarts.yaml", "ptb_recurrent_retrain.yaml"])
def test_a_batch_of_a_small_network_writes_no_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(small(name, tmp_path)) == 0, capsys.readouterr().err
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


@pytest.mark.long
@pytest.mark.parametrize("name", CONFIGS)
def test_it_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(full_size(name, tmp_path)) == 0, capsys.readouterr().err
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
    promised += " imagenet_drnas imagenet_cdarts"
    assert {f"{name}.yaml" for name in promised.split()} <= set(CONFIGS)
