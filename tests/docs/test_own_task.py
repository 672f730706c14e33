"""The examples of the page on tasks run, and its commands on data of one's own do."""

import csv
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_lightning.cli import main
from nas_lightning.data.read_mask import read_mask
from tests.data.test_masks import pattern, write

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "own_task.md").read_text(encoding="utf-8")
QUICK = "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.limit_train_batches 2"
TINY = "--data.train_size 40 --data.test_size 6 --data.batch_size 8"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `PYTHONPATH=docs/examples`, in this process and in others, in an empty folder."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    paths = (str(EXAMPLES), str(DOCS.parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.chdir(tmp_path)


def nas(line: str) -> None:
    assert main(line.split()) == 0


def commands(start: str) -> list[str]:
    """Return the commands of the page with this start, without `nas`."""
    lines = [line.removeprefix("PYTHONPATH=docs/examples ") for line in PAGE.splitlines()]
    found = [line.removeprefix("nas ") for line in lines if line.startswith(f"nas {start}")]
    return [line.replace("docs/examples", str(EXAMPLES)) for line in found]


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_page_shows_the_example() -> None:
    code = (EXAMPLES / "own_task.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in PAGE


def test_own_task_is_searched_retrained_and_tested(capsys: pytest.CaptureFixture[str]) -> None:
    (search,) = commands("fit --config docs/examples/own_task.yaml")
    nas(f"{search} {QUICK}")
    out = capsys.readouterr().out
    assert "own_task.Ordinal" in out.partition(" fit --config digits_retrain")[2]
    assert "val_distance" in out
    (retrain,) = commands("fit --config digits_retrain")
    nas(f"{retrain} {QUICK.replace('max_epochs 1', 'max_epochs 3')} --model.network.channels 4")
    metrics = rows("runs/own_task_retrain/csv/fit/metrics.csv")
    found = [float(row["retrain/val_distance"]) for row in metrics if row["retrain/val_distance"]]
    best = torch.load("runs/own_task_retrain/checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == found.index(min(found))
    (test,) = commands("test --config runs/own_task_retrain")
    nas(test)
    assert "retrain/test_distance" in capsys.readouterr().out


def test_the_segmentation_is_searched_retrained_tested_and_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    search, retrain = commands("fit --config docs/examples/segmentation")
    nas(f"{search} {QUICK} {TINY}")
    assert "--model.network.head dense" in capsys.readouterr().out
    nas(f"{retrain} {QUICK} {TINY} --model.network.channels 4")
    for verb in ("test", "predict"):
        (line,) = commands(f"{verb} --config runs/segmentation_retrain")
        nas(line)
    assert "retrain/test_mean_iou" in capsys.readouterr().out
    found = rows("runs/segmentation_retrain/predictions.csv")
    assert [row["mask"] for row in found] == [f"masks/{number}.png" for number in range(6)]
    mask = read_mask(Path("runs/segmentation_retrain/masks/0.png"))
    assert mask.shape == (24, 24)
    assert mask.max() <= 10


SMALL = "--data.batch_size 4 --data.num_workers 0 --data.image_size 32 --model.supernet.channels 8"
TABLES = {"ImageLabels": "file,cat,dog\n{}", "ImageValues": "file,height,year\n{}"}


@pytest.mark.parametrize("kind", ["ImageMasks", "ImageLabels", "ImageValues"])
def test_the_commands_for_data_of_ones_own(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for part, count in (("train", 16), ("test", 3)):
        for number in range(count):
            write(Path("data") / part, f"{number:02}", pattern(number))
        lines = "".join(f"images/{n:02}.png,{n % 2},{n // 2 % 2}\n" for n in range(count))
        if kind in TABLES:
            shutil.rmtree(f"data/{part}/masks")
            Path(f"data/{part}/labels.csv").write_text(TABLES[kind].format(lines), "utf-8")
    Path("data/classes.txt").write_text("ground\nwall\nroof\n", "utf-8")
    (line,) = commands(f"fit --config folder_idarts --data {kind}")
    assert main(shlex.split(f"{line} {SMALL} {QUICK} --run_dir run")) == 0
    out = capsys.readouterr().out
    assert f"{'data':<24} {kind}, data" in out
    assert f"{'images':<24} weight half 8, architecture half (and validation) 8" in out
    nas("predict --config run/config.yaml")
    (first, *_, last) = rows("run/predictions.csv")
    assert (first["file"], last["index"]) == ("data/test/images/00.png", "2")
    if kind == "ImageMasks":
        with Image.open("run/masks/00.png") as image:
            assert (image.mode, image.size) == ("P", (32, 32))
    else:
        names = {"ImageLabels": ["probability_cat", "probability_dog"],
                 "ImageValues": ["value_height", "value_year"]}[kind]  # fmt: skip
        assert list(first)[-2:] == names
        assert np.isfinite([float(first[name]) for name in names]).all()
