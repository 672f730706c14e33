"""`nas doctor`, `--print_plan` and `stages`: the facts before a run, and their effect on it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from lightning import LightningDataModule

from nas_lightning.architecture import Genotype, random_genotype
from nas_lightning.search.settings import SHARED
from nas_lightning.spaces import get_space
from tests.cli.conftest import Nas, run_once

GIVEN = {
    "channels": 12,
    "layers": 3,
    "drop_path": 0.25,
    "auxiliary_weight": 0.0,
    "cutout": 2,
    "weight_decay": 0.004,
}
SHARED_YAML = f"stages: {json.dumps(GIVEN)}\n"
SGD = "{class_path: torch.optim.SGD, init_args: {lr: 0.1}}"


class Bare(LightningDataModule):
    """A data module without cutout."""


def write_sgd() -> None:
    """Name the optimizers by their class: a function's weight decay cannot be set."""
    for name, key in (("search", "weight_optimizer"), ("retrain", "optimizer")):
        path = Path(f"{name}.yaml")
        text = path.read_text("utf-8").replace("init_args:\n", f"init_args:\n    {key}: {SGD}\n", 1)
        path.write_text(text, "utf-8")
    Path("shared.yaml").write_text(SHARED_YAML, "utf-8")


def table(out: str) -> dict[str, tuple[str, str]]:
    """The rows below `setting | search | retrain`."""
    lines = out.splitlines()
    start = next(
        i for i, line in enumerate(lines) if line.split() == ["setting", "search", "retrain"]
    )
    rows = [line.split() for line in lines[start + 1 : lines.index("", start)]]
    return {name: (search, retrain) for name, search, retrain in rows}


def plan(out: str) -> str:
    """Return the part that is printed after the machine and the processes."""
    return out.split("\n\n", 2)[2]


def test_the_plan_of_a_search_is_shown_slot_by_slot(nas: Nas, work: Path) -> None:
    result = nas("doctor --search search.yaml")
    assert result.code == 0
    lines = plan(result.out).splitlines()
    fit = nas("fit --config search --trainer.fast_dev_run true")
    assert lines == [line for line in fit.out.splitlines() if line in lines]
    assert any(
        line.split() == ["partial", "channels", "K", "4", "PartialChannels(k=4)"] for line in lines
    )
    assert lines[0].startswith("supernet ")
    assert not (work / "runs").exists()


def test_every_difference_is_a_row_and_the_exit_code_says_so(nas: Nas) -> None:
    result = nas("doctor --search search --retrain retrain")
    assert result.code == 1
    assert table(result.out) == {"channels": ("8", "4")}
    assert "DARTS" in result.out
    more = (
        "--search",
        "model: {init_args: {drop_path: 0.1, supernet: {init_args: {stem: imagenet}}}}",
    )
    cut = ("--retrain", "data: {init_args: {cutout: 3}}")
    smooth = (
        "--retrain",
        "model: {init_args: {task: "
        "{class_path: Classification, init_args: {label_smoothing: 0.1}}}}",
    )
    bigger = ("--search", "data: {init_args: {image_size: 32}}")
    result = nas("doctor --search search --retrain retrain", *more, *bigger, *cut, *smooth)
    assert result.code == 1, result.err
    assert table(result.out) == {
        "channels": ("8", "4"),
        "stem": ("imagenet", "cifar"),
        "drop_path": ("0.1", "0.0"),
        "cutout": ("0", "3"),
        "label_smoothing": ("0.0", "0.1"),
    }


def test_the_published_stages_differ(nas: Nas) -> None:
    result = nas("doctor --search cifar_darts --retrain cifar_retrain")
    assert result.code == 1
    # Liu et al.: 16 channels, 8 cells and no regularisation, then 36, 20 and all of it
    assert table(result.out) == {
        "channels": ("16", "36"),
        "layers": ("8", "20"),
        "drop_path": ("0.0", "0.3"),
        "auxiliary_weight": ("0.0", "0.4"),
        "cutout": ("0", "16"),
    }


@pytest.mark.parametrize("search", ["cifar_amended_individual", "cifar_amended_two_stage"])
def test_the_consistent_configurations_agree(nas: Nas, search: str) -> None:
    result = nas(f"doctor --search {search} --retrain cifar_amended_retrain")
    assert result.code == 0, result.out
    last = result.out.splitlines()[-1]
    assert all(name in last for name in SHARED if name not in ("cells", "hidden"))


def test_stages_make_any_two_agree(nas: Nas) -> None:
    write_sgd()
    shared = "--search shared.yaml --retrain shared.yaml"
    assert nas("doctor --search search --retrain retrain").code == 1
    assert nas(f"doctor --search search --retrain retrain {shared}").code == 0
    # they win, wherever the other value stands and in whatever order
    assert nas(f"doctor {shared} --search search --retrain retrain").code == 0


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("doctor --retrain retrain", ["--search CONFIG", "nas doctor --help"]),
        ("doctor --search serch.yaml", ["serch.yaml", "search.yaml"]),
        ("doctor --search search --retrain retrian", ["retrian", "retrain.yaml"]),
        ("doctor --search retrain.yaml", ["--search", "a search", "RetrainModule"]),
        ("doctor --search search --retrain search", ["--retrain", "a retraining", "SearchModule"]),
        ("doctor --search wrong.yaml", ["wrong.yaml", "supernet.channel:", "'channels'"]),
        (
            "doctor --search search --retrain wrong_stage.yaml",
            ["stages.channel", "stages.channels"],
        ),
        ("doctor --search search --bogus 3", ["--bogus"]),
        ("doctor --search search --search none.yaml", ["EdgeNormalization", "Backtracking"]),
        ("fit --config search --stages.channels wide", ["stages.channels", "number", "'wide'"]),
        ("fit --config search --stages.drop_path 2", ["drop_path", "below 1", "2.0"]),
        (
            "fit --config search --stages.weight_decay 0.1",
            ["stages.weight_decay", "model.weight_optimizer", "torch.optim.SGD"],
        ),
        ("fit --config search --stages.auxiliary_weight 0.4", ["auxiliary", "8x8", "2x2"]),
        (
            "fit --config search --stages.cutout 2 --data tests.cli.test_doctor.Bare",
            ["stages.cutout: data", "no cutout"],
        ),
        ("test --config search --print_plan", ["--print_plan"]),
    ],
)
def test_bad_input_is_one_message(nas: Nas, line: str, fragments: list[str]) -> None:
    Path("wrong.yaml").write_text(
        "model:\n  class_path: SearchModule\n  init_args:\n    supernet: "
        "{class_path: DartsSupernet, init_args: {channel: 3}}\n",
        "utf-8",
    )
    Path("wrong_stage.yaml").write_text("stages: {channel: 3}\n", "utf-8")
    Path("none.yaml").write_text("model: {init_args: {strategies: [Backtracking]}}\n", "utf-8")
    result = nas(line)
    assert result.code == 2, result.out
    assert len(result.err.strip().splitlines()) == 1
    assert all(fragment in result.err for fragment in fragments), result.err
    assert line.startswith("fit") or not Path("runs").exists()


def test_print_plan_trains_nothing_and_claims_no_directory(
    nas: Nas, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    search = nas("fit --config search --print_plan")
    assert search.code == 0
    assert search.out == plan(nas("doctor --search search").out)
    assert nas("fit --print_plan --config search --model.supernet.channels 6").code == 2
    retrain = nas("fit --config retrain --model.genotype DARTS_V2 --print_plan")
    assert retrain.code == 0
    assert retrain.out.split()[0] == "network"
    assert len(retrain.out.splitlines()) == 1
    assert not (work / "runs").exists()
    # nor does it mind a directory that holds a run
    shutil.copytree(run_once(tmp_path_factory, "fit --config search") / "runs", work / "runs")
    assert nas("fit --config search").code == 2
    assert nas("fit --config search --print_plan").out == search.out


def test_stages_are_saved_where_they_act_and_the_saved_file_runs_again(nas: Nas) -> None:
    write_sgd()
    assert nas("fit --config search --config shared").code == 0
    saved = yaml.safe_load(Path("runs/search/config.yaml").read_text("utf-8"))
    model = saved["model"]["init_args"]
    assert {
        "channels": model["supernet"]["init_args"]["channels"],
        "layers": model["supernet"]["init_args"]["layers"],
        "drop_path": model["drop_path"],
        "auxiliary_weight": model["auxiliary_weight"],
        "cutout": saved["data"]["init_args"]["cutout"],
        "weight_decay": model["weight_optimizer"]["init_args"]["weight_decay"],
    } == GIVEN
    assert set(saved["stages"].values()) == {None}
    again = nas("fit --config runs/search/config.yaml --run_dir runs/b --stages.channels 8")
    assert again.code == 0, again.err
    settings = Genotype.load("runs/b/genotype.json").provenance["settings"]
    assert settings == {**GIVEN, "channels": 8, "stem": "cifar", "label_smoothing": 0.0}
    assert nas("test --config runs/search/config.yaml").code == 0


def test_a_retraining_says_where_it_differs_from_the_search(nas: Nas) -> None:
    write_sgd()
    assert nas("fit --config search --config shared").code == 0
    line = (
        "fit --config retrain --model.genotype runs/search/genotype.json --trainer.fast_dev_run 1"
    )
    result = nas(f"{line} --config shared")
    assert result.code == 0
    assert "warning" not in result.out
    result = nas(f"{line} --config shared --stages.channels 8 --stages.cutout 0")
    assert result.code == 0
    lines = result.out.splitlines()
    start = next(i for i, text in enumerate(lines) if text.startswith("warning"))
    assert [" ".join(text.split()) for text in lines[start + 1 : start + 3]] == [
        "channels 12 in the search, 8 here",
        "cutout 2 in the search, 0 here",
    ]
    # nothing is known of the search of a published cell
    published = nas(f"{line} --model.genotype DARTS_V2")
    assert "warning" not in published.out


def test_stages_of_a_retraining_without_a_configured_network(nas: Nas) -> None:
    """The default network takes them, and keeps its other defaults."""
    random_genotype(get_space("darts_individual_4"), 0).save("individual.json")
    text = Path("retrain.yaml").read_text("utf-8")
    Path("retrain.yaml").write_text(
        "\n".join(line for line in text.splitlines() if "network:" not in line), "utf-8"
    )
    line = "fit --config retrain --print_plan --model.genotype"
    sizes = [
        int(nas(f"{line} {genotype} --stages.channels 4 {more}").out.split()[1].replace(",", ""))
        for genotype, more in (
            ("DARTS_V2", ""),
            ("DARTS_V2", "--stages.layers 3"),
            ("individual.json", ""),
        )
    ]
    assert sizes[0] > sizes[1]
    result = nas(f"{line} individual.json --stages.layers 3")
    assert result.code == 2
    assert "set layers to 4, found 3" in result.err


def test_the_help_says_that_stages_win(nas: Nas) -> None:
    text = " ".join(nas("fit --help").out.split())
    assert "They win over values given elsewhere" in text
    assert "--stages.weight_decay" in text
    assert "--print_plan" in text
