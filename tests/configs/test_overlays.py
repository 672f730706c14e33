"""The shipped methods that follow the configuration of a search."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.optim import Adam

from nas_lightning.cli import main
from nas_lightning.runs.configs import find_config, overlays, shipped
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import ARCH_OPTIMIZER, SearchModule
from tests.configs.shrink import synthetic
from tests.methods import rest_long

METHODS = {
    "a2m": ["A2M"],
    "amended": ["AmendedGradient"],
    "beta_darts": ["BetaDecay"],
    "binary_gates": ["BinaryGates"],
    "darts": [],
    "fairdarts": ["FairDARTS"],
    "darts_pt": ["PerturbationSelection"],
    "darts_pt_blank": ["PerturbationSelection"],
    "drnas": ["DrNAS"],
    "gaea": ["ExponentiatedGradient"],
    "gaea_single_level": ["ExponentiatedGradient"],
    "gdas": ["GDAS"],
    "neumann": ["Neumann"],
    "oles": ["OLES"],
    "sdarts_adv": ["SmoothDARTS"],
    "sdarts_rs": ["SmoothDARTS"],
    "second_order": ["Unrolled"],
    "skip_cap": ["SkipCap"],
    "snas": ["SNAS", "SingleLevel"],
}
SEARCHES = [
    name
    for name, path in shipped().items()
    if name.startswith(("signal_", "image_")) and "retrain" not in path.stem
]


@cache
def built(*configs: str) -> Any:
    """The objects of configurations, which no test changes."""
    return PlanCLI(["fit", *(part for config in configs for part in ("--config", config))])


def test_the_methods_are_known_by_name_and_are_no_runs() -> None:
    assert set(overlays()) >= {f"methods/{name}.yaml" for name in METHODS}
    assert find_config("methods/gaea") == overlays()["methods/gaea.yaml"]
    assert not set(overlays()) & set(shipped())


@pytest.mark.parametrize("method", METHODS)
def test_after_a_search_they_change_the_method_alone(method: str) -> None:
    cli, plain = built("signal_deblur", f"methods/{method}"), built("signal_deblur")
    module: SearchModule = cli.model
    assert [type(strategy).__name__ for strategy in module.strategies] == METHODS[method]
    assert cli.datamodule.single_level == (method in ("gaea_single_level", "snas"))
    group = {"params": list(module.arch.parameters()), "name": "alpha"}
    optimizer = module.plan[ARCH_OPTIMIZER]([group])
    assert isinstance(optimizer, Adam) == (not method.startswith("gaea"))
    assert repr(module.factory) == repr(plain.model.factory)


@pytest.mark.parametrize("search", ["cifar_darts", "nb201_darts"])
def test_a_method_of_image_cells_alters_their_supernet(search: str) -> None:
    cli, plain = built(search, "methods/darts_minus"), built(search)
    assert [type(strategy).__name__ for strategy in cli.model.strategies] == ["AuxiliarySkip"]
    numbers = [len(list(each.model.supernet.modules())) for each in (cli, plain)]
    assert numbers[0] > numbers[1]
    assert cli.model.arch.named().keys() == plain.model.arch.named().keys()


def test_a_second_network_is_for_the_cells_of_darts(capsys: pytest.CaptureFixture[str]) -> None:
    cli = built("digits_idarts", "methods/cdarts")
    assert [type(strategy).__name__ for strategy in cli.model.strategies] == ["CDARTS"]
    assert len(cli.model.networks["cdarts"].stack.cells) == 6
    assert main(["fit", "--config", "nb201_small_darts", "--config", "methods/cdarts"]) != 0
    assert "CDARTS needs normal and reduction cells" in capsys.readouterr().err


def test_the_last_of_two_methods_wins() -> None:
    both, plain = built("signal_deblur", "methods/gaea", "methods/darts"), built("signal_deblur")
    assert both.model.plan.describe() == plain.model.plan.describe()


@pytest.mark.parametrize("method", rest_long(METHODS, keep=["darts", "darts_pt", "snas"]))
def test_a_batch_of_each(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = str(synthetic(shipped()["signal_deblur.yaml"], tmp_path))
    configs = ["--config", "signal_deblur", "--config", small, "--config", f"methods/{method}"]
    assert main(["fit", *configs]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", SEARCHES)
def test_search_and_retraining_measure_the_same(name: str) -> None:
    search, retrain = (
        yaml.safe_load(shipped()[config].read_text())["data"]
        for config in (name, name.replace(".yaml", "_retrain.yaml"))
    )
    assert search.pop("class_path") == retrain.pop("class_path")
    for key in ("size", "operator", "noise"):
        assert search["init_args"][key] == retrain["init_args"][key]


def test_they_are_listed_shown_and_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["configs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in METHODS:
        assert any(line.startswith(f"methods/{name}.yaml ") for line in lines), name
    assert main(["configs", "show", "methods/gdas"]) == 0
    assert "GDAS" in capsys.readouterr().out
    assert main(["configs", "copy", "methods/gdas", str(tmp_path)]) == 0
    assert (tmp_path / "gdas.yaml").read_bytes() == overlays()["methods/gdas.yaml"].read_bytes()
