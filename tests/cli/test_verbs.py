"""Verbs that do not train, and help."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas_lightning import __version__
from nas_lightning.architecture import random_genotype
from nas_lightning.cli.verbs import VERBS
from nas_lightning.spaces import get_space
from tests.cli.conftest import Nas


@pytest.mark.parametrize("line", ["", "-h", "--help", "help"])
def test_one_help_names_every_verb(nas: Nas, line: str) -> None:
    result = nas(line)
    assert result.code == 0
    assert all(f"  {verb} " in result.out for verb in VERBS)
    assert "NAS_DEBUG=1" in result.out
    assert max(map(len, result.out.splitlines())) <= 80


def test_version(nas: Nas) -> None:
    assert nas("--version").out == f"nas {__version__}\n"


OWN = [verb for verb in VERBS if verb not in ("fit", "validate", "test", "predict")]
WITHOUT_TORCH = f"""
import sys
from nas_lightning.cli import main
for verb in {OWN}:
    for line in ([], ["--help"], ["--version"], ["fti"], [verb, "--help"], [verb, "--bogus"]):
        main(line)
print("torch" in sys.modules)
"""


def test_help_and_wrong_commands_do_not_import_torch() -> None:
    """Importing it would take seconds."""
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    for verb in OWN:
        assert f"(`nas {verb} --help` explains)" in done.stderr


def test_the_nearest_verb_is_named(nas: Nas) -> None:
    result = nas("stduy")
    assert result.code == 2
    assert result.err == "nas: no verb 'stduy'; did you mean 'study'? `nas --help` lists all\n"
    assert nas("xyzzy").err == "nas: no verb 'xyzzy'; `nas --help` lists all\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(nas: Nas, verb: str) -> None:
    result = nas(f"{verb} --help")
    assert result.code == 0
    assert result.err == ""
    assert "usage: nas" in result.out
    assert verb in result.out.splitlines()[0]


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_help_of_a_run_names_what_is_ours(nas: Nas, verb: str) -> None:
    out = nas(f"{verb} --help").out
    assert all(option in out for option in ("--config", "--run_dir", "--ckpt_path", "--trainer."))


def test_info(nas: Nas) -> None:
    table = nas("info DARTS_V2").out
    data = json.loads(nas("info genotype.json --json").out)
    assert data["parameters"] == 3349342  # 3.3 million in the paper
    assert "3,349,342" in table
    assert (data["channels"], data["layers"], data["classes"]) == (36, 20, 10)
    small = json.loads(nas("info DARTS_V2 --json --channels 4 --layers 3 --classes 7").out)
    assert (small["channels"], small["layers"], small["classes"]) == (4, 3, 7)
    assert small["parameters"] < data["parameters"]


def test_info_on_imagenet(nas: Nas) -> None:
    data = json.loads(nas("info DARTS_V2 --json --imagenet --space darts").out)
    assert (data["channels"], data["layers"], data["classes"]) == (48, 14, 1000)
    assert data["parameters"] == 4718752


def test_info_of_the_supernet(nas: Nas) -> None:
    full, partial = (
        json.loads(nas(f"info supernet --json --layers 3 --k {k}").out) for k in (1, 4)
    )
    assert partial["parameters"] < full["parameters"]


def test_info_of_other_spaces(nas: Nas) -> None:
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|skip_connect~1|none~2|"
    data = json.loads(nas(f"info {text} --json").out)
    assert data["string"] == text
    assert (data["channels"], data["layers"], data["classes"]) == (16, 5, 10)
    # three convolutions in each of 15 cells: 5 · 3 · (9 C² + 2 C) for C = 16, 32, 64
    inside = sum(5 * 3 * (9 * c * c + 2 * c) for c in (16, 32, 64))
    assert data["parameters"] == 73_306 + inside
    words = json.loads(nas("info DARTS_RNN_V2 --json").out)
    assert (words["channels"], words["classes"], words["parameters"]) == (850, 10_000, 22_960_000)
    plain = json.loads(nas("info supernet --space nas_bench_201 --json --layers 1").out)
    mixed = json.loads(nas("info supernet --space darts_recurrent --json --channels 30").out)
    assert plain["parameters"] > 0
    # embedding and its decoder's bias, W0 and eight W: 10,000 · 31 + 2·30·2·30 + 8 · 30 · 60
    assert mixed["parameters"] == 10_000 * 31 + 60 * 60 + 8 * 30 * 60
    assert "--layers means nothing" in nas("info DARTS_RNN_V2 --layers 3").err
    assert "--imagenet means nothing" in nas("info supernet --space nas_bench_201 --imagenet").err


def test_info_and_drawing_of_a_reconstruction(nas: Nas) -> None:
    mixed = json.loads(nas("info supernet --space reconstruction --json").out)
    for dims, name in ((1, "parameters_for_signals"), (2, "parameters_for_images")):
        patch = 5**dims
        # each of ten edges: three step sizes, twice eight filters, and a network of 16 channels
        network = 16 * patch + 16 + 16 * 16 + 16 + patch * 16
        assert mixed[name] == 10 * (3 + 2 * 8 * patch + network)
    random_genotype(get_space("reconstruction"), seed=0).save("unrolled.json")
    cell = json.loads(nas("info unrolled.json --json").out)
    assert cell["parameters_for_signals"] < cell["parameters_for_images"]
    assert "no channels to mix" in nas("info supernet --space reconstruction --k 2").err
    assert "--classes means nothing" in nas("info unrolled.json --classes 3").err
    assert nas("draw unrolled.json -o unrolled.svg").code == 0
    assert "Unrolled cell" in Path("unrolled.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_draw(nas: Nas, ending: str, start: bytes) -> None:
    result = nas(f"draw DARTS_V2 -o pictures/cells.{ending}")
    assert result.code == 0
    assert result.out == f"written to pictures/cells.{ending}\n"
    assert Path(f"pictures/cells.{ending}").read_bytes().startswith(start)


def test_configs(nas: Nas) -> None:
    listed = nas("configs").out
    assert listed == nas("configs list").out
    assert "digits_idarts.yaml" in listed
    shown = nas("configs show digits_idarts").out
    assert nas("configs copy digits_idarts.yaml mine").code == 0
    assert Path("mine/digits_idarts.yaml").read_text(encoding="utf-8") == shown
    Path("mine/digits_idarts.yaml").write_text("mine", encoding="utf-8")
    again = nas("configs copy digits_idarts mine")
    assert again.code == 2
    assert "mine/digits_idarts.yaml exists" in again.err
    assert Path("mine/digits_idarts.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["cifar_darts", "cifar_pcdarts", "cifar_idarts", "folder_idarts"])
def test_shipped_searches_parse(nas: Nas, name: str) -> None:
    if name == "folder_idarts":
        Path("data/train/ant").mkdir(parents=True)
    result = nas(f"fit --config {name} --print_config")
    assert result.code == 0, result.err


@pytest.mark.parametrize("name", ["cifar_retrain", "digits_retrain", "folder_retrain"])
def test_shipped_retrainings_parse(nas: Nas, name: str) -> None:
    result = nas(f"fit --config {name} --model.genotype DARTS_V2 --print_config")
    assert result.code == 0, result.err
