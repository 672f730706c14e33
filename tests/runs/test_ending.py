"""What a run says at its end: the result, and commands that really run."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.runs.configs import shipped
from nas_lightning.runs.ending import in_words, print_tables
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.runs.retraining import retrain_command
from nas_lightning.spaces import (
    DartsSpace,
    IndividualDartsSpace,
    NasBench201Space,
    ReconstructionSpace,
    RecurrentSpace,
)
from nas_lightning.yaml_text import read_mapping
from tests.cli.conftest import Nas


def rows(out: str) -> dict[str, str]:
    """The lines of a table of two columns, as they end the output of a run."""
    return dict(re.findall(r"^(\S[\w ]*?) {2,}(\S.*)$", out, re.MULTILINE))


def copied(nas: Nas, line: str, *more: str) -> Any:
    """Run a printed command, which starts with the path of `nas`."""
    return nas("", *shlex.split(line)[1:], *more)


def test_a_search_a_retraining_and_a_test_say_what_comes_next(nas: Nas, work: Path) -> None:
    searched = nas("fit --config search --run_dir", "runs/a search")
    said = rows(searched.out)
    run_dir = work / "runs/a search"
    genotype = Genotype.load(run_dir / "genotype.json")
    assert f"\n{genotype}\n" in searched.out  # the cells, node by node
    assert said["genotype"] == "runs/a search/genotype.json"
    assert said["drawing"] == "runs/a search/cells.svg"
    assert "<svg" in (run_dir / "cells.svg").read_text(encoding="utf-8")
    cost = r"\d+\.\d s, peak memory [\d,]+ MiB, [\d,.]+ samples a second"
    assert re.fullmatch(cost, said["cost"])

    # the data of the search, in a shipped configuration for images of that size
    small = ("--trainer.max_epochs=2", "--trainer.limit_train_batches=2")
    retrained = copied(nas, said["retrain it with"], *small)
    assert retrained.code == 0, retrained.err
    folder = Path("runs/a search_retrain")
    config = read_mapping(folder / "config.yaml")
    assert config["data"]["class_path"] == "nas_lightning.data.Synthetic"
    assert {config["data"]["init_args"][name] for name in ("num_classes", "train_size")} == {4, 32}
    assert config["model"]["init_args"]["genotype"] == "runs/a search/genotype.json"
    last = rows(retrained.out)
    found = re.fullmatch(r"([12]) of 2: retrain/val_accuracy ([\d.]+)", last["best epoch"])
    assert found
    lines = [line for line in retrained.out.splitlines() if line.startswith("epoch ")]
    values = [float(re.findall(r"val_accuracy (\S+)", line)[0]) for line in lines]
    assert max(values) == values[int(found[1]) - 1] == float(found[2])
    assert last["checkpoint"] == str(folder / "checkpoints/best.ckpt")

    tested = copied(nas, last["test it with"])
    assert tested.code == 0, tested.err
    (written,) = re.findall(r"^metrics written to (.*)$", tested.out, re.MULTILINE)
    assert "retrain/test_accuracy" in Path(written).read_text(encoding="utf-8")
    # a second retraining gets a folder of its own
    config = read_mapping(run_dir / "config.yaml")
    again = retrain_command(config, genotype, Path("runs/a search"), 2)
    assert again.endswith("--run_dir 'runs/a search_retrain-2'")


NETWORKS = {
    "cifar_amended_individual": "cifar_amended_retrain",
    "cifar_amended_two_stage": "cifar_amended_retrain",
    **{
        name: f"{name.partition('_')[0]}_retrain"
        for name in ("cifar100_idarts", "cifar_idarts", "cifar_darts", "digits_idarts",
                     "folder_idarts", "imagenet_gaea", "nb201_darts", "nb201_small_gaea")
    },
    **{
        name: f"{name}_retrain"
        for name in ("image_deblur", "image_inpaint", "signal_deblur", "signal_denoise",
                     "signal_superres", "ptb_recurrent", "wikitext_recurrent")
    },
    "cifar100_idarts": "cifar_retrain",
}  # fmt: skip


def complete(name: str) -> tuple[dict[str, Any], Genotype]:
    """A shipped search with its stages at their places, and a genotype of its space."""
    config = read_mapping(shipped()[f"{name}.yaml"])
    shared = config.pop("stages", {})
    init = config["model"]["init_args"]
    init["weight_optimizer"]["init_args"]["weight_decay"] = shared.get("weight_decay")
    init |= {key: shared[key] for key in ("drop_path", "auxiliary_weight") if key in shared}
    init["supernet"].setdefault("init_args", {})
    init["supernet"]["init_args"] |= {
        key: shared[key] for key in ("channels", "layers") if key in shared
    }
    config["data"]["init_args"] |= {key: shared[key] for key in ("cutout",) if key in shared}
    supernet = init["supernet"]
    space: Any = {
        "DartsSupernet": DartsSpace(4),
        "NasBench201Supernet": NasBench201Space(),
        "RecurrentSupernet": RecurrentSpace(),
        "ReconstructionSupernet": ReconstructionSpace(),
    }[supernet["class_path"]]
    if supernet["init_args"].get("individual"):
        space = IndividualDartsSpace(supernet["init_args"]["layers"])
    return config, random_genotype(space, 0)


@pytest.mark.parametrize(("name", "retraining"), NETWORKS.items())
def test_the_configuration_of_the_space_and_the_data(name: str, retraining: str) -> None:
    config, genotype = complete(name)
    line = retrain_command(config, genotype, Path("runs/x"), 1000)
    words = shlex.split(line)[1:]
    assert words[:3] == ["fit", "--config", retraining]
    assert words[3:5] == ["--model.genotype", "runs/x/genotype.json"]
    other = [word for word in words if word.startswith(("--data", "--model.", "--trainer"))]
    more = ["--data", "--data.mode"] if name == "cifar100_idarts" else []
    assert other == ["--model.genotype", *more]


def test_what_differs_from_the_shipped_configuration_is_set() -> None:
    config, genotype = complete("image_deblur")
    config["data"]["init_args"] |= {"noise": 0.5, "batch_size": 1, "size": 16}
    config["data"]["init_args"]["operator"]["init_args"]["sigma"] = 3.0
    config["trainer"] |= {"accelerator": "cpu", "devices": 2}
    words = shlex.split(retrain_command(config, genotype, Path("runs/x"), 1000))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.keys() == {
        "--config", "--model.genotype", "--data.noise", "--data.size", "--data.operator",
        "--trainer.accelerator", "--trainer.devices", "--run_dir",
    }  # fmt: skip
    assert (options["--data.noise"], options["--trainer.devices"]) == ("0.5", "2")
    assert '"sigma": 3.0' in options["--data.operator"]


def test_cells_that_are_all_searched_apart_keep_their_number(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is built as the printed command says; nothing is trained."""
    config, _ = complete("digits_idarts")
    genotype = random_genotype(IndividualDartsSpace(5), 0)
    (work / "x").mkdir()
    genotype.save(work / "x/genotype.json")
    line = retrain_command(config, genotype, Path("x"), 1000)
    assert "--model.network.layers 5" in line
    run = PlanCLI(shlex.split(line)[1:])
    assert run.config["fit"].model.init_args.network.init_args.layers == 5


def test_many_cells_are_summarised() -> None:
    genotype = random_genotype(IndividualDartsSpace(20), 0)
    lines = list(in_words(genotype))
    assert lines[0] == "20 cells, each with its own operations"
    assert len(lines) <= 9
    counts = [int(re.findall(r"on (\d+) edges", line)[0]) for line in lines[1:]]
    assert sum(counts) == 20 * 8
    assert counts == sorted(counts, reverse=True)
    few = random_genotype(DartsSpace(2), 0)
    assert list(in_words(few)) == str(few).splitlines()


def test_a_quiet_evaluation_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    loop = SimpleNamespace(verbose=False)
    trainer: Any = SimpleNamespace(is_global_zero=True, test_loop=loop, validate_loop=loop)
    print_tables(trainer)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("size", "nearest"), [(8, "digits"), (20, "cifar"), (300, "imagenet")])
def test_own_data_gets_the_configuration_for_images_of_its_size(size: int, nearest: str) -> None:
    config, genotype = complete("digits_idarts")
    config["data"] = {"class_path": "nas_lightning.data.Synthetic", "init_args": {"seed": 3}}
    line = retrain_command(config, genotype, Path("x"), 1000, size)
    assert f"--config {nearest}_retrain " in line
    assert "--data nas_lightning.data.Synthetic --data.mode retrain --data.seed 3" in line


def test_batches_that_grow_are_the_matter_of_a_search() -> None:
    config, genotype = complete("digits_sgas")
    assert config["data"]["init_args"]["batch_growth"]["by"] == 8
    assert "growth" not in retrain_command(config, genotype, Path("x"), 1000)


def test_a_search_with_a_budget_says_whether_its_cells_keep_it(nas: Nas, work: Path) -> None:
    line = "fit --config search --config methods/budget --run_dir runs/small"
    refused = nas(f"{line} --model.strategies.budget 1k")
    assert refused.code == 2
    assert "keeps the budget of 1k parameters: they have " in refused.err
    assert not (work / "runs/small/genotype.json").exists()
    searched = nas(f"{line} --model.strategies.budget 900k")
    assert searched.code == 0, searched.err
    found = Genotype.load(work / "runs/small/genotype.json").provenance["budget"]
    assert found["resource"] == "parameters"
    kept = found["cost"] <= found["budget"] == 900_000
    said = rows(searched.out)["budget"]
    assert said.startswith("kept: " if kept else "exceeded by ")
    counted = nas("info runs/small/genotype.json --classes 4 --json").out
    assert found["cost"] == json.loads(counted)["parameters"]
