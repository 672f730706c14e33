"""The words of data modules at the start of a run, and files that are no ordinary ones."""

import os
from pathlib import Path

import pytest

from nas_lightning.callbacks.data_report import summary
from nas_lightning.data import CIFAR10, Digits, Photographs, Signals, SyntheticText, TextData
from nas_lightning.errors import DataError


def test_images_in_memory() -> None:
    data = Digits()
    data.setup("fit")
    assert summary(data) == [
        ("data", "Digits"),
        ("classes", "10: 0, 1, 2, 3, 4 and 5 more"),
        # 1,797 scans, of which a fifth is the test set
        ("images", "weight half 719, architecture half (and validation) 719"),
    ]
    data = Digits(mode="retrain", val_fraction=0.1)
    data.setup()
    assert summary(data)[-1] == ("images", "training 1,294, validation 144, test 359")


def test_inverse_problems() -> None:
    data = Signals(train_size=100, test_size=10, arch_fraction=0.25)
    data.setup("fit")
    assert summary(data) == [
        ("data", "Signals"),
        ("signals", "weight half 75, architecture half (and validation) 25"),
    ]
    patches = Photographs()
    patches.setup("test")
    assert summary(patches)[-1] == ("patches", "test 156")


def test_texts(tmp_path: Path) -> None:
    made = SyntheticText(num_tokens=7, train_size=1500, valid_size=400, test_size=300)
    made.setup("fit")
    assert summary(made) == [
        ("data", "SyntheticText"),
        ("words", "weights 1,500, architecture (and validation) 400, test 300; vocabulary 7"),
    ]
    for part, text in {"train": "a b a\nc\n", "valid": "a\n", "test": "b d\n"}.items():
        (tmp_path / f"{part}.txt").write_text(text, encoding="utf-8")
    data = TextData(root=str(tmp_path), mode="retrain")
    data.setup("fit")
    # with an end for each line
    assert summary(data)[-1] == ("words", "training 6, validation 2, test 3; vocabulary 5")


def test_a_mark_at_the_start_of_a_text_is_no_letter(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text("a\n", encoding="utf-8-sig")
    data = TextData(root=str(tmp_path))
    assert data.corpus.words.split() == ["a", "<eos>"]


@pytest.mark.parametrize("missing", ["pipe", "folder"])
def test_a_text_that_is_no_file(missing: str, tmp_path: Path) -> None:
    for part in ("valid", "test"):
        (tmp_path / f"{part}.txt").write_text("a\n", encoding="utf-8")
    path = tmp_path / "train.txt"
    os.mkfifo(path) if missing == "pipe" else path.mkdir()
    with pytest.raises(DataError, match=r"train\.txt' cannot be read: not an ordinary file\."):
        TextData(root=str(tmp_path)).setup("fit")


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize(
    "name", ["cifar-10-batches-py/data_batch_3", "cifar-10-batches-py/batches.meta", "archive"]
)
def test_cifar_that_is_no_file(name: str, download: bool, tmp_path: Path) -> None:
    path = tmp_path / name.replace("archive", "cifar-10-python.tar.gz")
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    data = CIFAR10(root=str(tmp_path), download=download)
    with pytest.raises(DataError, match="is not an ordinary file"):
        data.prepare_data() if download else data.setup("test")
