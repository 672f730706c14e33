"""The ImageNet configurations: sizes and settings of the papers, and real photographs."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nas_lightning.cli import main
from nas_lightning.retrain import RetrainModule, count_parameters
from nas_lightning.runs.command import run
from nas_lightning.runs.configs import shipped
from nas_lightning.runs.preview import PlanCLI
from nas_lightning.search import SearchModule
from nas_lightning.spaces import DartsNetwork, load_genotype
from nas_lightning.strategies import CDARTS
from nas_lightning.strategies.backtracking import threshold
from nas_lightning.training.schedules import CosineSchedule
from tests.configs.shrink import TRAINER

CONFIGS = shipped()
SEARCHES = ["imagenet_pcdarts", "imagenet_idarts", "imagenet_gaea"]
ALL = [*SEARCHES, "imagenet_retrain"]


def given(name: str) -> dict[str, Any]:
    """A configuration as it stands in the file."""
    content: dict[str, Any] = yaml.safe_load(CONFIGS[f"{name}.yaml"].read_text(encoding="utf-8"))
    return content


def built(name: str) -> Any:
    """The module of a configuration, for 1,000 classes and 224 pixels."""
    data = ["--data", "Synthetic", "--data.num_classes", "1000", "--data.image_size", "224"]
    more = ["--model.genotype", "PC_DARTS_IMAGENET"] if "retrain" in name else []
    return PlanCLI(["fit", "--config", name, *data, *more]).model


@pytest.mark.parametrize("name", SEARCHES)
def test_the_supernet_is_that_of_pc_darts(name: str) -> None:
    module: SearchModule = built(name)
    # counted in the released code: K = 2, 1,000 classes
    assert count_parameters(module.supernet) == 956_512


def test_the_network_is_that_of_pc_darts() -> None:
    module: RetrainModule = built("imagenet_retrain")
    # counted in the released code, without and with the auxiliary head
    assert count_parameters(module.network) == 5_342_464 + 1_260_776
    spec = {"in_channels": 3, "num_classes": 1000, "image_size": 224}
    assert isinstance(module.factory, DartsNetwork)
    bare = module.factory.build(load_genotype("PC_DARTS_IMAGENET"), spec, auxiliary=False)
    assert count_parameters(bare) == 5_342_464


@pytest.mark.parametrize(
    ("name", "images"),
    [*((name, 1024) for name in ALL), ("imagenet_cdarts", 1024), ("imagenet_drnas", 512)],
)
def test_images_of_a_batch_in_all(name: str, images: int) -> None:
    trainer = given(name)["trainer"]
    size = given(name)["data"]["init_args"]["batch_size"]
    assert size * trainer["devices"] * trainer["num_nodes"] == images


@pytest.mark.parametrize("name", [*SEARCHES, "imagenet_drnas"])
def test_rates_and_augmentation_of_a_search_are_those_of_pc_darts_code(name: str) -> None:
    settings = given(name)["model"]["init_args"]
    rate = settings["weight_optimizer"]["init_args"]["lr"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate)
    chosen = settings["weight_schedule"]
    assert chosen["class_path"] == "CosineSchedule"
    schedule = CosineSchedule(**chosen["init_args"])
    scheduler = schedule.build(optimizer, given(name)["trainer"]["max_epochs"])
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [0.1, 0.2, 0.3, 0.4, 0.5]
    expected += [0.25 * (1 + math.cos(math.pi * epoch / 50)) for epoch in range(5, 50)]
    assert rates == pytest.approx(expected, rel=1e-9)
    assert given(name)["data"]["init_args"]["colour_jitter"] is False
    assert "colour_jitter" not in given("imagenet_retrain")["data"]["init_args"]


def test_backtracking_of_imagenet_begins_late_and_ends_with_six_edges() -> None:
    strategies = given("imagenet_idarts")["model"]["init_args"]["strategies"]
    rule = strategies[-1]["init_args"]
    # equation 14 by hand: 0.7 of an edge more each epoch from T = 40 on, of 14 edges
    zetas = {e: threshold(e, rule["start"], rule["rate"], 14) for e in (39, 41, 42, 45, 49)}
    assert zetas == {39: 0, 41: 0, 42: 1, 45: 3, 49: 6}
    assert rule["coefficient"] == pytest.approx(6e-3 * 0.04)


def test_cycles_of_cdarts_are_those_of_its_script() -> None:
    """40 iterations, of which ten are pretraining, and the others have three epochs and one."""
    (strategy,) = given("imagenet_cdarts")["model"]["init_args"]["strategies"]
    trainer = given("imagenet_cdarts")["trainer"]
    epochs = trainer["max_epochs"]
    cdarts = CDARTS(**strategy["init_args"])
    phases = [cdarts.cycles.phase(epoch) for epoch in range(epochs)]
    assert phases == ["pretraining"] * 10 + (["warm-up"] * 3 + ["joint"]) * 30
    assert {cdarts.factor(epoch) for epoch in range(epochs)} == {1.0}  # nothing steps its cosine
    joint = [epoch for epoch, phase in enumerate(phases) if phase == "joint"]
    decays = [cdarts.cycles.decay(epoch, epochs, cdarts.decay_until) for epoch in joint]
    assert decays == pytest.approx([max(0, 1 - t / (30 * 0.5)) for t in range(30)])
    shares = given("imagenet_cdarts")["data"]["init_args"]
    assert (shares["weight_fraction"], shares["arch_fraction"]) == (0.5, 0.5)
    assert trainer["limit_train_batches"] == 0.2


def test_channels_of_drnas_fit_both_stages() -> None:
    settings = given("imagenet_drnas")["model"]["init_args"]
    stages = settings["strategies"][0]["init_args"]
    channels = settings["supernet"]["init_args"]["channels"]
    assert (stages["k"], stages["wide_k"]) == (6, 3)
    assert [channels % stages[k] for k in ("k", "wide_k")] == [0, 0]
    assert 2 * stages["first_epochs"] == given("imagenet_drnas")["trainer"]["max_epochs"]


# -- runs of a batch or two ------------------------------------------------------------------------


def real(name: str) -> str:
    folder = Path(os.environ.get("NAS_TEST_DATA", "")) / name
    if "NAS_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"needs {name} in the folder that NAS_TEST_DATA names")
    return str(folder)


def small(name: str, folder: Path, pixels: int, **trainer: Any) -> list[str]:
    """Arguments that bring a configuration to one process on a CPU and to a small network."""
    changes = folder / "small.yaml"
    settings = {"trainer": {**TRAINER, **trainer}, "run_dir": str(folder / name)}
    changes.write_text(yaml.safe_dump(settings), encoding="utf-8")
    part = "network" if "retrain" in name else "supernet"
    # a multiple of every K
    sizes = [f"--model.{part}.channels=12", f"--model.{part}.layers=3"]
    sizes += ["--model.strategies.layers=3"] if name == "imagenet_cdarts" else []
    sizes += ["--model.genotype", "PC_DARTS_IMAGENET"] if "retrain" in name else []
    data = ["--data.image_size", str(pixels), "--data.batch_size=4", "--data.num_workers=0"]
    return ["fit", "--config", name, "--config", str(changes), *sizes, *data]


@pytest.mark.parametrize(("name", "pixels"), [("imagenet_pcdarts", 64), ("imagenet_retrain", 224)])
def test_mixed_precision_on_a_cpu(name: str, pixels: int, tmp_path: Path) -> None:
    arguments = small(name, tmp_path, pixels, precision=given(name)["trainer"]["precision"])
    data = ["--data", "Synthetic", "--data.train_size=16", "--data.test_size=4"]
    cli = run([*arguments, *data, "--data.arch_fraction=0.5", "--data.val_fraction=0.25"])
    assert cli.trainer.precision == "bf16-mixed"
    metrics = cli.trainer.callback_metrics
    assert {name.rpartition("_")[2] for name in metrics} >= {"loss", "accuracy"}
    assert all(torch.isfinite(value) for value in metrics.values())


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "pixels"),
    [*((name, 64) for name in (*SEARCHES, "imagenet_drnas", "imagenet_cdarts")),
     ("imagenet_retrain", 224)],
)  # fmt: skip
def test_real_photographs(
    name: str, pixels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 1,000 training images: a tenth for the weights, 25 for the architecture
    limits = {"fast_dev_run": False, "limit_train_batches": 3, "limit_val_batches": 1}
    arguments = small(name, tmp_path, pixels, **limits, max_epochs=1, check_val_every_n_epoch=1)
    arguments += ["--data.root", real("tiny-imagenet-10")]
    assert main(arguments) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert ("network" if "retrain" in name else "supernet") in out
    folder = tmp_path / name
    metrics = (folder / "csv" / "fit" / "metrics.csv").read_text(encoding="utf-8")
    assert "nan" not in metrics
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 0
    assert (folder / "genotype.json").exists() == ("retrain" not in name)
    if "retrain" in name:  # val/ is tested once, all 500 of it
        config = str(folder / "config.yaml")
        assert main(["test", "--config", config, "--trainer.limit_test_batches", "3"]) == 0
        assert "retrain/test_accuracy" in capsys.readouterr().out
