"""Images without classes: what a run says about its data, and predictions with file names."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from nas_lightning.callbacks.predictions import sample_indices
from nas_lightning.cli import main
from tests.cli.conftest import RETRAIN

LINE = "--config retrain.yaml --model.genotype DARTS_V2"
PREDICT = "predict --config runs/retrain/config.yaml"
COLOURS = {"blue": (0, 0, 250), "red": (250, 0, 0)}


def nas(line: str) -> int:
    return main(line.split())


def paint(path: Path, name: str, number: int) -> None:
    red, green, blue = COLOURS[name]
    Image.new("RGB", (16, 16), (red, green + 3 * number, blue)).save(path)


def rows() -> list[dict[str, str]]:
    with Path("runs/retrain/predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tells red from blue."""
    work = tmp_path_factory.mktemp("work")
    for part, count in (("train", 16), ("test", 3)):
        for name in COLOURS:
            folder = work / "data" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                paint(folder / f"{number:02}.png", name, number)
    text = RETRAIN[: RETRAIN.index("data:")] + RETRAIN[RETRAIN.index("checkpoint:") :]
    (work / "retrain.yaml").write_text(
        text + "data: {class_path: ImageFolder, init_args: {root: data, image_size: 8, "
        "batch_size: 4, mode: retrain, val_fraction: 0.25}}\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        assert nas(f"fit {LINE} --trainer.max_epochs 2") == 0
    return work


@pytest.fixture
def work(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; what the fixture made stays as it is."""
    monkeypatch.chdir(trained)
    return trained


def test_every_verb_says_what_it_found(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("data", "noted")
    Path("noted/test/red/notes.txt").touch()
    images = {
        "fit": "training 24, validation 8",
        "validate": "training 24, validation 8",
        "test": "test 6",
        "predict": "prediction 6",
    }
    for verb, numbers in images.items():
        more = "--run_dir runs/new" if verb == "fit" else "--run_dir runs/retrain"
        assert nas(f"{verb} {LINE} {more} --data.root noted --trainer.limit_train_batches 1") == 0
        lines = capsys.readouterr().out.splitlines()
        assert f"{'data':<24} ImageFolder, noted" in lines
        assert f"{'classes':<24} 2: blue, red" in lines
        assert f"{'images':<24} {numbers}" in lines
        ignored = f"{'ignored in test/':<24} 1 not images (.txt 1)"
        assert (ignored in lines) == (verb in ("test", "predict"))


def test_predictions_of_new_images(work: Path) -> None:
    assert nas(PREDICT) == 0
    before = rows()
    files = [f"data/test/{name}/0{number}.png" for name in COLOURS for number in range(3)]
    assert [row["file"] for row in before] == files
    assert [row["index"] for row in before] == [str(number) for number in range(6)]
    assert list(before[0]) == ["index", "file", "class", "probability", "name"]
    assert {(row["class"], row["name"]) for row in before} <= {("0", "blue"), ("1", "red")}

    # the same images, flat, with other names, in a folder without a training set
    Path("new").mkdir()
    for number, file in enumerate(reversed(files)):
        shutil.copy(file, f"new/{number}.png")
    assert nas(f"{PREDICT} --data.root new") == 0
    found = rows()
    assert [row["file"] for row in found] == [f"new/{number}.png" for number in range(6)]
    for one, other in zip(found, reversed(before), strict=True):
        assert one["name"] == other["name"]
        # in batches of other images, the last bits differ
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), rel=1e-4)


def test_an_image_that_cannot_be_read_has_no_prediction(work: Path) -> None:
    shutil.copytree("data/test", "damaged")
    Path("damaged/red/01.png").write_bytes(b"no image")
    assert nas(f"{PREDICT} --data.root damaged --data.broken_images 1") == 0
    found = rows()
    assert [row["file"] for row in found if not row["class"]] == ["damaged/red/01.png"]
    assert len(found) == 6


def test_new_images_in_class_folders_are_tested(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data/test", "moved/test")
    assert nas("test --config runs/retrain/config.yaml --data.root moved") == 0
    out = capsys.readouterr().out
    assert f"{'images':<24} test 6" in out.splitlines()


def test_new_images_and_a_checkpoint_without_names(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load("runs/retrain/checkpoints/best.ckpt", weights_only=True)
    del content["nas_lightning"]["data"]["class_names"]  # as of an earlier release
    torch.save(content, "old.ckpt")
    assert nas(f"{PREDICT} --ckpt_path old.ckpt --data.root data/test") == 1
    err = capsys.readouterr().err
    assert err.startswith("nas: There is no folder 'train' in 'data/test', and the checkpoint")
    assert len(err.splitlines()) == 1


IMAGES = "predict runs/retrain --images"


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_image_files_have_the_predictions_of_the_test_data(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One path through Lightning's loaders, and one without: the same rows."""
    assert nas(PREDICT) == 0
    wanted = {row["file"]: row for row in rows()}
    capsys.readouterr()
    assert nas(f"{IMAGES} data/test/red/02.png data/test/blue --top 1") == 0
    out = capsys.readouterr().out.splitlines()
    found = table("runs/retrain/image_predictions.csv")
    files = ["data/test/red/02.png", *(f"data/test/blue/0{number}.png" for number in range(3))]
    assert [row["file"] for row in found] == files
    for row in found:
        assert row["class"] == wanted[row["file"]]["name"]
        probability = float(wanted[row["file"]]["probability"])
        assert float(row["probability"]) == pytest.approx(probability, rel=1e-4)
    assert out[0].split() == ["file", "rank", "class", "probability"]
    assert out[1].split()[:3] == ["data/test/red/02.png", "1", found[0]["class"]]
    assert out[-1] == "written to runs/retrain/image_predictions.csv"
    assert len(out) == 6


def test_several_classes_have_a_row_each(work: Path) -> None:
    assert nas(f"{IMAGES} data/test/red/00.png --top 5 -o new/t.csv") == 0
    found = table("new/t.csv")
    assert [row["rank"] for row in found] == ["1", "2"]  # there are two classes
    assert {row["class"] for row in found} == {"red", "blue"}
    assert sum(float(row["probability"]) for row in found) == pytest.approx(1)
    assert float(found[0]["probability"]) > float(found[1]["probability"])


def test_a_checkpoint_needs_no_run_directory(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("runs/retrain/checkpoints/best.ckpt", tmp_path / "net.ckpt")
    shutil.copy("data/test/red/00.png", tmp_path / "red.png")
    monkeypatch.chdir(tmp_path)  # neither the data nor the configuration are here
    assert nas("predict net.ckpt --images red.png") == 0
    assert [row["file"] for row in table("image_predictions.csv")] == ["red.png"]


def test_other_images_go_on_after_an_unreadable_one(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data/test/blue", "mixed")
    Path("mixed/01.png").write_bytes(b"no image")
    assert nas(f"{IMAGES} mixed -o mixed.csv") == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("nas: The image 'mixed/01.png' cannot be read: not an image")
    assert last == "nas: 1 of 3 images cannot be read: their rows are empty"
    found = table("mixed.csv")
    assert [row["file"] for row in found if not row["class"]] == ["mixed/01.png"]
    assert [row["file"] for row in found] == [f"mixed/0{number}.png" for number in range(3)]


REFUSED = {
    "predict runs/retrain": (2, "--images"),
    "predict runs/retrain --images": (2, "--images"),
    "predict runs/retrain --images data/none.png": (2, "no file or folder data/none.png"),
    "predict runs/retrain --images bare": (2, "the folder bare holds no images"),
    "predict runs/retrain --images bare/x.txt": (1, "none of the 1 images can be read"),
    "predict runs/retrain --images data/test --top 0": (2, "--top"),
    "predict runs/none --images data/test": (1, "no run directory or checkpoint runs/none"),
    "predict bare --images data/test": (2, "bare holds no checkpoints/last.ckpt"),
    "predict --images data/test": (2, "source"),
    "predict --config retrain.yaml --images data/test": (2, "--config"),
}


def test_wrong_lines_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bare").mkdir()
    Path("bare/x.txt").touch()
    for line, (code, text) in REFUSED.items():
        assert nas(line) == code, line
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("nas: "), line
        assert text in message, line
    assert not Path("image_predictions.csv").exists()


def test_help_names_both_forms(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nas("predict --help") == 0
    out = capsys.readouterr().out
    assert "--images" in out
    assert "predict --config runs/x/config.yaml" in out
    assert "--ckpt_path" in out


def test_indices_of_samples() -> None:
    # one list for each loader, of one list for each batch; our samplers yield (epoch, index)
    assert sample_indices([[[(0, 3), (0, 1)], [(0, 2)]]]) == [3, 1, 2]
    assert sample_indices([[[3, 1], [2]]]) == [3, 1, 2]
    assert sample_indices([]) == []
