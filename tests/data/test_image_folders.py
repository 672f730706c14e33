"""`ImageFolder`: its sets, what it says about them, and what it refuses."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas_lightning.data import ImageData, ImageFolder, ImageNet, Synthetic
from nas_lightning.data.dataset import TensorImages
from nas_lightning.errors import DataError, UsageError

CLASSES = ("cat", "dog", "emu")


def fill(folder: Path, count: int, classes: tuple[str, ...] = CLASSES) -> None:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes: 8 images each in train, 2 in val, 3 in test."""
    root = tmp_path_factory.mktemp("made") / "data"
    for part, count in (("train", 8), ("val", 2), ("test", 3)):
        fill(root / part, count)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def folder(root: Path, mode: Any = "retrain", **more: Any) -> ImageFolder:
    return ImageFolder(root=str(root), image_size=8, batch_size=4, mode=mode, **more)


def found(data: ImageData, stage: str) -> dict[str, str]:
    """The words of a data module at the start of a run."""
    data.setup(stage)
    root = getattr(data, "root", "\n")
    return {name: text.replace(root, "ROOT") for name, text in data.summary()}


def test_val_beside_test_is_the_validation_set_of_a_retraining(made: Path) -> None:
    data = folder(made)
    assert found(data, "fit") == {
        "data": "ImageFolder, ROOT",
        "classes": "3: cat, dog, emu",
        "images": "training 24, validation 6",
        "validation": "all images in val/; val_fraction is not used",
    }
    read = [path for path, *_ in [data._sets["val"].files]]  # type: ignore[attr-defined] # files
    assert {path.parent.parent.name for path in read} <= {"val"}
    loader: Any = data.val_dataloader()
    assert sum(len(y) for _, y in loader) == 6
    train: Any = data.train_dataloader()
    assert sum(len(y) for _, y in train) == 24


def test_a_search_does_not_read_val(made: Path) -> None:
    assert found(folder(made, "search"), "fit") == {
        "data": "ImageFolder, ROOT",
        "classes": "3: cat, dog, emu",
        "images": "weight half 12, architecture half (and validation) 12",
        "not used": "val/: a search uses train/ only",
    }
    text = found(folder(made, "search", single_level=True), "fit")["images"]
    assert text == "training (weights and architecture) 24"


def test_val_without_test_is_the_test_set(root: Path) -> None:
    shutil.rmtree(root / "test")
    lines = found(folder(root, val_fraction=0.25), "fit")
    assert lines["images"] == "training 18, validation 6"
    assert lines["test set"] == "val/, which a training does not read"
    assert found(folder(root), "test")["images"] == "test 6"


def test_imagenet_does_not_use_a_folder_test(made: Path) -> None:
    data = ImageNet(root=str(made), mode="retrain", val_fraction=0.25, image_size=8, batch_size=4)
    lines = found(data, "fit")
    assert lines["images"] == "training 18, validation 6"
    assert lines["not used"] == "test/"


def test_no_test_set_is_said_before_the_training(root: Path) -> None:
    for name in ("test", "val"):
        shutil.rmtree(root / name)
    assert found(folder(root), "fit")["warning"] == "there is no test set in ROOT"


@pytest.mark.parametrize("way", ["absent", "empty"])
def test_a_test_set_may_lack_a_class(way: str, root: Path) -> None:
    shutil.rmtree(root / "test" / "dog")
    if way == "empty":
        (root / "test" / "dog").mkdir()
    data = folder(root)
    lines = found(data, "test")
    assert lines["images"] == "test 6"
    assert lines["warning"] == "no image of class dog in the test set"
    assert [y.tolist() for _, y in data.test_dataloader()] == [[0, 0, 0, 2], [2, 2]]


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_unknown_class_is_refused_before_the_training(part: str, root: Path) -> None:
    (root / part / "dog").rename(root / part / "wolf")
    with pytest.raises(DataError, match=rf"{part}' has class wolf, which the training set"):
        folder(root).setup("fit")
    shutil.rmtree(root / part)
    fill(root / part, 1, ("Cat", "Dog", "Emu"))
    with pytest.raises(DataError, match=rf"{part}' has the classes Cat, Dog, Emu"):
        folder(root).setup("fit")


def test_flat_images_in_test_and_val(root: Path) -> None:
    """As Tiny ImageNet comes: they are no classes, and no reason not to train."""
    for part in ("val", "test"):
        shutil.rmtree(root / part)
        fill(root / part, 2, ("images",))
    lines = found(folder(root, val_fraction=0.25), "fit")
    assert lines["images"] == "training 18, validation 6"
    assert lines["warning"] == "test/ has no class folders: it can be predicted, but not tested"
    assert lines["not used"] == "val/"
    with pytest.raises(DataError, match=r"none of the class folders .*cat, dog, emu.*nas predict"):
        folder(root).setup("test")


def test_parts_that_are_empty(root: Path) -> None:
    for path in (root / "test").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="test set has no images"):
        folder(root).setup("test")
    shutil.rmtree(root / "val")
    with pytest.raises(UsageError, match=r"val_fraction 0\.01 of 24 images is none .* 0\.042 or"):
        folder(root, val_fraction=0.01).setup("fit")
    assert found(folder(root, val_fraction=0), "fit")["images"] == "training 24, validation 0"


def test_a_part_that_lacks_a_class(root: Path) -> None:
    shutil.rmtree(root / "val")
    lines = found(folder(root, val_fraction=0.05), "fit")
    assert lines["images"] == "training 23, validation 1"
    assert "no image of the classes" in lines["warning"]
    assert lines["warning"].endswith("in the validation part")


def predicted(data: ImageFolder) -> list[str]:
    data.setup("predict")
    assert data.predicted_files is not None
    return [str(path.relative_to(data.root)) for path in data.predicted_files.files]


def test_images_to_predict(root: Path) -> None:
    in_classes = [f"test/{name}/{i}.png" for name in CLASSES for i in range(3)]
    assert predicted(folder(root)) == in_classes
    for path in (root / "test").rglob("*.png"):
        path.rename(root / "test" / f"{path.parent.name}{path.name}")
    flat = [f"test/{name}{i}.png" for name in CLASSES for i in range(3)]
    assert predicted(folder(root)) == flat
    for part in ("train", "val"):
        shutil.rmtree(root / part)
    data = folder(root)
    data.class_names = CLASSES  # as from a checkpoint
    assert predicted(data) == flat
    assert dict(data.summary())["images"] == "prediction 9"
    assert len(list(data.predict_dataloader())) == 3
    data = folder(root / "test")  # the folder itself
    data.class_names = CLASSES
    assert predicted(data) == [name.removeprefix("test/") for name in flat]
    data = folder(root / "nothing")
    data.class_names = CLASSES
    with pytest.raises(DataError, match="nothing"):
        data.setup("predict")


class Labelled(Synthetic):
    """Images with any labels."""

    def __init__(self, train: list[int], test: list[int]) -> None:
        super().__init__(num_classes=3, image_size=8, batch_size=2, mode="retrain", val_fraction=0)
        self.given = {"train": train, "test": test}

    def load(self, part: Any) -> TensorImages:
        labels = self.given[part]
        return TensorImages(super().load("train").images[: len(labels)], labels)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, 2, 3], [0], "Label 3 of sample 3 in the train set .* of 3 classes are 0 to 2"),
        ([0, 1, 2, -1], [0], "Label -1 of sample 3 in the train set"),
        ([0, 1, 2], [1, 5], "Label 5 of sample 1 in the test set"),
        ([0, 0, 2], [0], "training set has no sample of class 1"),
        ([], [0], "training set has no images"),
        ([0, 1, 2], [], "test set has no images"),
    ],
)
def test_labels_of_every_kind_of_images(train: list[int], test: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Labelled(train, test).setup()


def test_a_single_class() -> None:
    with pytest.raises(DataError, match="only one class"):
        Synthetic(num_classes=1).setup("fit")


def test_other_images_say_what_they_found_too() -> None:
    assert found(Labelled([0, 1, 2, 1], [0, 2]), "test") == {
        "data": "Labelled",
        "classes": "3",
        "images": "test 2",
        "warning": "no image of class 1 in the test set",
    }


@pytest.mark.parametrize(
    "wrong", [{"background": -1}, {"background": 256}, {"white": 0.0}, {"white": float("nan")}]
)
def test_settings_that_no_image_can_have(wrong: dict[str, Any], made: Path) -> None:
    with pytest.raises(UsageError, match=f"ImageFolder: {next(iter(wrong))} must be"):
        folder(made, **wrong)


def test_background_and_white_reach_the_images(root: Path) -> None:
    path = root / "test" / "cat" / "0.png"
    image = Image.new("LA", (8, 8), (0, 0))
    image.putpixel((0, 0), (90, 255))
    image.save(path)
    data = folder(root, background=30)
    data.setup("test")
    shown, _ = data._sets["test"][0]
    assert [shown.getpixel((0, 0)), shown.getpixel((5, 5))] == [(90,) * 3, (30,) * 3]
    assert data.meaning["background"] == 30
    Image.new("F", (8, 8), 0.4).save(path, "TIFF")
    with pytest.raises(DataError, match=r"0\.png' cannot be read \(its grey values are floa"):
        data._sets["test"][0]
    data = folder(root, white=2.0)
    data.setup("test")
    assert data._sets["test"][0][0].getpixel((0, 0)) == (51,) * 3


def test_names_that_are_no_text_or_have_lines(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "val", "test"):
        (root / part / "cat").rename(root / part / os.fsdecode(b"caf\xe9"))
        (root / part / "dog").rename(root / part / "do\ng")
    (root / "train" / "emu" / "x.a\x1b").touch()
    lines = found(folder(root), "fit")
    assert lines["classes"] == r"3: 'caf\udce9', 'do\ng', emu"
    assert lines["ignored in train/"] == r"1 not images ('.a\x1b' 1)"
    assert all(text.isprintable() for text in lines.values())
