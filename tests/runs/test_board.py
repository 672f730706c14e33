"""What TensorBoard reads back from a run: the first group, the settings and the results."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data as parse_start

from nas_lightning.runs.board import Board, flat_settings, names
from nas_lightning.runs.metrics import read_metrics
from tests.cli.conftest import LONG, Nas

CONFIG: dict[str, Any] = {
    "seed_everything": 3,
    "run_dir": "runs/x",
    "model": {
        "class_path": "nas_lightning.search.SearchModule",
        "init_args": {
            "supernet": {
                "class_path": "nas_lightning.spaces.DartsSupernet",
                "init_args": {"channels": 8, "primitives": ["none", "skip_connect"]},
            },
            "strategies": [
                {"class_path": "nas_lightning.strategies.PartialChannels", "init_args": {"k": 4}},
                {"class_path": "nas_lightning.strategies.EdgeNormalization"},
            ],
            "weight_optimizer": {
                "class_path": "torch.optim.SGD",
                "init_args": {"lr": 0.05, "nesterov": True, "maximize": False, "dampening": 0.0},
            },
            "arch_optimizer": None,
            "drop_path": 0.0,
        },
    },
    "data": {"class_path": "nas_lightning.data.Digits", "init_args": {"batch_size": 64}},
    "trainer": {"max_epochs": 5, "devices": "auto", "max_steps": -1, "precision": None},
}


def test_settings_under_short_names() -> None:
    assert flat_settings(CONFIG) == {
        "seed": 3,
        "model": "SearchModule",
        "supernet": "DartsSupernet",
        "supernet.channels": 8,
        "strategies": "PartialChannels, EdgeNormalization",
        "strategies.PartialChannels.k": 4,
        "weight_optimizer": "SGD",
        "weight_optimizer.lr": 0.05,
        "weight_optimizer.nesterov": "true",
        "drop_path": 0.0,
        "data": "Digits",
        "data.batch_size": 64,
        "max_epochs": 5,
    }


def test_the_overview_comes_before_all_other_groups() -> None:
    logged = {
        "epoch": 2.0,
        "lr-SGD": 0.1,
        "backtracking/normal/zeta": 1.0,
        "search/train_loss_epoch": 1.25,
        "search/train_loss_step": 7.0,
        "search/val_accuracy": 0.5,
        "search/entropy": 1.5,
        "search/entropy_normal": 1.75,
        "one_shot/test_accuracy": 0.25,
        "val_loss": 3.0,
    }
    shown = names(logged, "accuracy")
    assert {name: value for name, value in shown.items() if name.startswith("overview/")} == {
        "overview/loss_train": 1.25,
        "overview/accuracy_val": 0.5,
        "overview/mean_entropy": 1.5,
    }
    assert min(name for name in shown if "/" in name).startswith("overview/")
    assert {"training/lr-SGD", "training/backtracking/normal/zeta", "val_loss"} <= shown.keys()
    assert shown["search/one_shot_test_accuracy"] == 0.25
    assert "epoch" not in shown


def read(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    board.Reload()
    return board


def start_of(board: EventAccumulator) -> dict[str, Any]:
    """The settings of the run in the table HParams."""
    content = board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = parse_start(content).hparams
    return {name: getattr(item, item.WhichOneof("kind")) for name, item in values.items()}


def test_a_run_and_its_resume_fill_the_table_of_settings(nas: Nas, work: Path) -> None:
    assert nas(LONG.replace("epochs 3", "epochs 2")).code == 0
    folder = work / "runs/search"
    for line in ("", "--ckpt_path last"):
        assert not line or nas(f"{LONG} {line}").code == 0
        board = read(folder)
        tags = board.Tags()
        groups = sorted({tag.partition("/")[0] for tag in tags["scalars"] + tags["images"]})
        assert groups == ["overview", "search", "training", "weights", "weights_alpha",
                          "weights_beta"]  # fmt: skip
        assert sorted(tag for tag in tags["scalars"] if tag.startswith("overview")) == [
            f"overview/{name}"
            for name in ("accuracy_train", "accuracy_val", "loss_train", "loss_val",
                         "mean_entropy", "skips")
        ]  # fmt: skip
        settings = start_of(board)
        assert settings["strategies"] == "WarmUp, PartialChannels, EdgeNormalization"
        assert settings["data.batch_size"] == 8
        assert 10 <= len(settings) <= 50
        content = board.SummaryMetadata("_hparams_/experiment").plugin_data.content
        metrics = [info.name.tag for info in parse_experiment_plugin_data(content).metric_infos]
        assert metrics == ["training/best_accuracy_val", "overview/accuracy_val",
                           "training/best_loss_val", "overview/loss_val",
                           "overview/loss_train"]  # fmt: skip
        rows = read_metrics(folder)
        losses = [row["search/val_loss"] for row in rows if "search/val_loss" in row]
        assert board.Scalars("overview/loss_val")[-1].value == pytest.approx(losses[-1])
        assert board.Scalars("training/best_loss_val")[-1].value == pytest.approx(min(losses))
        assert "_hparams_/session_end_info" in tags["tensors"] + list(board.summary_metadata)
        written = yaml.safe_load((folder / "hparams.yaml").read_text(encoding="utf-8"))
        assert settings.pop("max_epochs") == 2  # TensorBoard keeps those of the first start
        assert written["max_epochs"] == (3 if line else 2)
        assert {name: written[name] for name in settings} == settings


def test_the_best_values_include_those_of_earlier_starts(tmp_path: Path) -> None:
    before = [{"step": 3.0, "search/val_accuracy": 0.75, "search/val_loss": 0.5}]
    board = Board(tmp_path, 4, before)
    board.begin({}, {"accuracy": "max"})
    board.log_metrics({"search/val_accuracy": 0.5, "search/val_loss": float("nan")}, 7)
    board.log_metrics({"search/val_accuracy": 0.875, "search/val_loss": 0.25}, 11)
    board.finalize("success")
    found = read(tmp_path)
    best = [item.value for item in found.Scalars("training/best_accuracy_val")]
    assert best == [0.75, 0.875]
    assert [item.value for item in found.Scalars("training/best_loss_val")] == [0.25]
    assert isinstance(board, TensorBoardLogger)


@pytest.mark.parametrize(("mode", "best"), [("min", 0.5), ("max", 0.75), (None, 0.75)])
def test_the_best_value_is_the_best_in_the_direction_of_the_metric(
    mode: Any, best: float, tmp_path: Path
) -> None:
    """Whatever it is called, also among the values of earlier starts."""
    other = {"retrain/val_other": 0.1}
    board = Board(tmp_path, 4, [{"step": 3.0, "retrain/val_angle": 0.5, **other}])
    board.begin({}, {"angle": mode, "other": "min"})
    board.log_metrics({"retrain/val_angle": 0.75, **other}, 7)
    board.log_metrics({"retrain/val_angle": 0.625, **other}, 8)
    board.finalize("success")
    found = read(tmp_path)
    assert found.Scalars("training/best_angle_val")[-1].value == best
    assert [item.value for item in found.Scalars("overview/angle_val")] == [0.75, 0.625]
    assert "overview/other_val" not in found.Tags()["scalars"]
