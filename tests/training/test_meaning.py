"""What inputs and outputs mean: recorded in checkpoints and genotypes, compared when loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule
from PIL import Image

from nas_lightning.data import Digits, ImageFolder, Photographs, Signals, TextData
from nas_lightning.errors import CheckpointError, UsageError
from nas_lightning.operators import Blur, Identity
from nas_lightning.search import SearchModule
from nas_lightning.training.checkpoints import read_checkpoint, recorded_meaning
from nas_lightning.training.meaning import compare, in_short, meaning
from nas_lightning.training.spec import checked_spec
from tests.cli.conftest import Nas, nas, work
from tests.conftest import TrainerFactory, tiny_supernet

__all__ = ["nas", "work"]


class Animals(LightningDataModule):
    """A user's data module with names of its classes and a normalisation."""

    def __init__(self, names: Any = ("cat", "dog", "emu"), mean: Any = 0.5) -> None:
        super().__init__()
        self.data_spec = {"in_channels": 3, "num_classes": 3, "image_size": 8}
        self.class_names = names
        self.meaning = {"mean": mean}


def test_equal_data_pass() -> None:
    recorded = meaning(Animals())
    assert recorded["class_names"] == ["cat", "dog", "emu"]
    assert compare(recorded, Animals(names=np.array(["cat", "dog", "emu"]))) == []
    assert compare({}, Animals()) == []  # of an earlier release
    assert compare(recorded, Animals(names=None)) == []  # not known before setup


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Animals(("cat", "emu", "dog")), ["another order", "class 1 is 'emu', but was 'dog'"]),
        (Animals(("cat", "dog", "yak")), ["checkpoint: 'emu'; only in the data: 'yak'"]),
        (Animals(mean=[0.5, 0.4]), ["mean is [0.5, 0.4] in Animals, but 0.5"]),
    ],
)
def test_data_of_another_meaning_are_refused_in_one_line(
    data: LightningDataModule, words: list[str]
) -> None:
    with pytest.raises(CheckpointError) as error:
        compare(meaning(Animals()), data)
    assert "\n" not in str(error.value)
    assert "Animals" in str(error.value)
    for text in words:
        assert text in str(error.value)


def test_many_names_are_cut() -> None:
    names = [f"n{i:04}" for i in range(1000)]
    recorded = {"class_names": names}
    data = Animals([f"m{i}" for i in range(1000)])
    data.data_spec["num_classes"] = 1000
    with pytest.raises(CheckpointError, match="'n0004' and 995 more; only in the data: 'm0'"):
        compare(recorded, data)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("cat", "cat", "emu"), "'cat' more than once"),
        (("cat", "dog"), "2 names, but data_spec has num_classes 3"),
        ("cat", "must be a list of names"),
    ],
)
def test_names_that_do_not_fit_the_classes_are_refused(names: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        meaning(Animals(names))


def test_the_settings_of_an_operator_are_compared() -> None:
    recorded = meaning(Signals(operator=Blur(sigma=1.0), noise=0.1))
    assert compare(recorded, Signals(operator=Blur(sigma=1.0), noise=0.1)) == []
    with pytest.raises(CheckpointError, match=r"operator\.sigma is 3.0 in Signals, but 1.0 in"):
        compare(recorded, Signals(operator=Blur(sigma=3.0), noise=0.1))
    with pytest.raises(CheckpointError, match=r"operator\.class_path is .*Identity in Signals"):
        compare(recorded, Signals(operator=Identity(), noise=0.1))
    with pytest.raises(CheckpointError, match="dims is 2 in Photographs, but 1"):
        compare(recorded, Photographs(size=64, operator=Blur(sigma=1.0)))
    # other noise and sizes are allowed, with a word
    told = compare(recorded, Signals(size=32, operator=Blur(sigma=1.0), noise=0.2))
    assert [line.split(",")[0] for line in told] == [
        "image_size is 32 in Signals",
        "noise is 0.2 in Signals",
    ]


def write_text(folder: Path, train: str) -> TextData:
    folder.mkdir()
    for part, text in (("train", train), ("valid", "a b"), ("test", "b a")):
        (folder / f"{part}.txt").write_text(text)
    return TextData(root=str(folder))


def test_vocabularies_are_compared_word_by_word(tmp_path: Path) -> None:
    recorded = meaning(write_text(tmp_path / "one", "a b c\nb"))
    assert recorded == {"num_tokens": 4, "words": "a b c <eos>"}
    assert compare(recorded, write_text(tmp_path / "same", "a b c")) == []
    other = write_text(tmp_path / "other", "a c b")  # as many words, other numbers
    with pytest.raises(CheckpointError, match="word 1 is 'c', but was 'b'"):
        compare(recorded, other)
    short = in_short(recorded)
    assert "words" not in short
    assert short["words_sha256"] != in_short(meaning(other))["words_sha256"]


def test_images_record_their_normalisation() -> None:
    recorded = meaning(Digits())
    assert recorded["class_names"] == [str(i) for i in range(10)]
    assert recorded["mean"] == [0.3053]
    assert recorded["std"] == [0.376]


def test_a_trainer_compares_and_a_genotype_records(
    make_trainer: TrainerFactory, tmp_path: Path
) -> None:
    module = SearchModule({"in_channels": 1, "num_classes": 10, "image_size": 8}, tiny_supernet())
    data = Digits(batch_size=500)
    trainer = make_trainer(limit_train_batches=1, limit_val_batches=1)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert recorded_meaning(read_checkpoint(tmp_path / "a.ckpt")) == meaning(data)
    genotype = json.loads((tmp_path / "genotype.json").read_text())
    assert genotype["provenance"]["data"] == in_short(meaning(data))
    other = Digits(batch_size=500)
    other.class_names = tuple("9876543210")
    for verb in (trainer.validate, trainer.test, trainer.predict, trainer.fit):
        with pytest.raises(CheckpointError, match="class 0 is '9', but was '0'"):
            verb(module, datamodule=other, ckpt_path=str(tmp_path / "a.ckpt"))


# -- runs --------------------------------------------------------------------------------------


def write_images(root: Path, names: tuple[str, ...]) -> None:
    """Write dark images of the first class, and brighter ones of the others."""
    for part, count in (("train", 8), ("test", 4)):
        for label, name in enumerate(names):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                image = np.full((16, 16, 3), 40 + 150 * label + i, dtype=np.uint8)
                Image.fromarray(image).save(root / part / name / f"{i}.png")


def test_a_renamed_class_folder_is_refused_by_every_verb(nas: Nas, work: Path) -> None:
    write_images(work / "data", ("cat", "dog"))
    line = "--config retrain --model.genotype genotype.json --data ImageFolder --data.image_size 16"
    line += " --data.root data --data.mode retrain --data.batch_size 4 --data.val_fraction 0.25"
    result = nas(f"fit {line}")
    assert result.code == 0, result.err
    checkpoint = read_checkpoint(work / "runs/retrain/checkpoints/last.ckpt")
    assert recorded_meaning(checkpoint) == meaning(ImageFolder(root="data", image_size=16))
    with pytest.warns(UserWarning, match="image_size is 32 in ImageFolder, but 16"):
        assert nas(f"test {line} --data.image_size 32").code == 0
    for part in ("train", "test"):  # `cat` is now class 1, and as many classes are there
        (work / "data" / part / "cat").rename(work / "data" / part / "lynx")
    before = (work / "runs/retrain/config.yaml").read_text()
    for verb in ("test", "predict", "validate", "fit --ckpt_path last --trainer.max_epochs 2"):
        result = nas(f"{verb} {line}")
        assert result.code == 1
        assert "only in the checkpoint: 'cat'; only in the data: 'lynx'" in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert (work / "runs/retrain/config.yaml").read_text() == before
    shutil.rmtree(work / "data")
    write_images(work / "data", ("cat", "dog"))
    assert nas(f"test {line}").code == 0


# -- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"num_classes": np.int64(2)}, {"num_classes": 2}),
        ({"num_classes": torch.tensor(2)}, {"num_classes": 2}),
        ({"image_size": (8, 8)}, {"image_size": 8}),
        ({"image_size": [8]}, {"image_size": 8}),
        ({"in_channels": 3.0, "peak": np.float32(2)}, {"in_channels": 3, "peak": 2.0}),
    ],
)
def test_sizes_become_plain_numbers(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    found = checked_spec(spec)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"num_classes": 0},
        {"num_classes": "2"},
        {"num_classes": True},
        {"num_classes": None},
        {"image_size": (8, 16)},
        {"in_channels": 1.5},
        {"num_classes": ["a", "b"]},
        [1, 2, 3],
        "3x8x8",
    ],
)
def test_other_sizes_are_refused(spec: Any) -> None:
    with pytest.raises(UsageError, match="Mine: data_spec") as error:
        checked_spec(spec, "Mine")
    assert "\n" not in str(error.value)


def test_a_missing_size_is_named() -> None:
    with pytest.raises(UsageError, match=r"no image_size \(it has in_channels, num_classes\)"):
        checked_spec({"in_channels": 1, "num_classes": 2})["image_size"]
