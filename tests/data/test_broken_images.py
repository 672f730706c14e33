"""Unreadable images: their replacements, their count, and when a run stops."""

import gc
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import PILToTensor

from nas_lightning.cli import main
from nas_lightning.data import AugmentedDataset, EpochSampler, ImageFolder, ImageNet
from nas_lightning.data.image_files import ImageFiles
from nas_lightning.errors import DataError, UsageError
from tests.cli.conftest import RETRAIN
from tests.data.second_epoch import met_in_the_second_epoch

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
PER_CLASS = 12


def colour(label: int, index: int) -> tuple[int, int, int]:
    """The one colour of an image, which no other has."""
    return (200 * label, 20 * index, 100)


def write(path: Path, label: int, index: int) -> None:
    Image.new("RGB", (16, 16), colour(label, index)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of `PER_CLASS` images of one colour each."""
    for part in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for i in range(PER_CLASS):
                write(folder / f"{i:02}.png", label, i)
    return tmp_path / "data"


def damage(root: Path, *names: str) -> list[str]:
    """Cut files short; their paths."""
    paths = [root / name for name in names]
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])
    return [str(path) for path in paths]


def files(root: Path, allowed: int) -> ImageFiles:
    data = ImageFolder(root=str(root), broken_images=allowed)
    return data.load("train")


def seen(images: ImageFiles, index: int) -> tuple[int, int, int]:
    """The colour that the images have at an index."""
    image, label = images[index]
    assert label == index // PER_CLASS  # the class stays that of the index
    found: Any = image.getpixel((8, 8))
    red, green, blue = found
    return red, green, blue


def test_the_next_image_of_the_class_stands_in(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["train/cat/03.png", "train/cat/04.png", "train/cat/11.png", "train/dog/11.png"]
    paths = damage(root, *names)
    images = files(root, allowed=4)
    stand_ins = {3: (0, 5), 4: (0, 5), 11: (0, 0), 23: (1, 0)}
    for index in range(2 * PER_CLASS):
        expected = stand_ins.get(index, divmod(index, PER_CLASS))
        assert seen(images, index) == colour(*expected)
    assert images.broken == paths
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for number, (line, path) in enumerate(zip(lines, paths, strict=True), start=1):
        assert re.fullmatch(
            rf"nas: '{path}' cannot be read \(.+\): skipped and replaced by '\d\d.png' "
            rf"\({number} of at most 4\)",
            line,
        )
    assert "'05.png'" in lines[0]
    assert "'00.png'" in lines[2]


def test_each_is_counted_and_named_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(root, "train/cat/03.png")
    images = files(root, allowed=1)
    for _ in range(3):
        assert seen(images, 3) == colour(0, 4)
    assert len(capsys.readouterr().err.splitlines()) == 1
    damage(root, "train/cat/07.png")
    with pytest.raises(DataError, match=r"07\.png' cannot be read .* number 2, but at most 1 "):
        images[7]


def test_without_the_option_the_first_one_stops_the_run(root: Path) -> None:
    path = root / "train" / "dog" / "00.png"
    path.write_bytes(b"no image")
    reason = (
        "not an image in one of the formats BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP, or damaged at "
        "its start"
    )
    with pytest.raises(DataError) as caught:
        files(root, allowed=0)[PER_CLASS]
    assert str(caught.value) == (
        f"The image '{path}' cannot be read ({reason}). It is unreadable image number 1, but at "
        "most 0 may be skipped: replace or remove it, or raise --data.broken_images."
    )


def test_files_that_are_gone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = files(root, allowed=1)
    (root / "train" / "cat" / "00.png").unlink()
    assert seen(images, 0) == colour(0, 1)
    assert "(No such file or directory)" in capsys.readouterr().err


def test_a_class_that_cannot_be_read_at_all(root: Path) -> None:
    damage(root, *(f"train/cat/{i:02}.png" for i in range(PER_CLASS)))
    with pytest.raises(DataError, match=r"cat/05\.png' cannot be read, nor can any other"):
        files(root, allowed=PER_CLASS)[5]


def test_a_stand_in_is_of_the_same_part(root: Path) -> None:
    damage(root, "train/cat/03.png", "train/cat/10.png")
    images = files(root, allowed=2)
    images.keep_apart([1, 3, 8, 20], [0, 4, 10])
    assert seen(images, 3) == colour(0, 8)
    assert seen(images, 10) == colour(0, 0)


@pytest.mark.parametrize("kind", [ImageFolder, ImageNet])
def test_the_halves_of_a_search_stay_apart(kind: type[ImageFolder], root: Path) -> None:
    names = [f"train/{name}/{i:02}.png" for name in ("cat", "dog") for i in range(0, PER_CLASS, 2)]
    damage(root, *names)
    more: dict[str, Any] = {"weight_fraction": 0.5} if kind is ImageNet else {}
    data = kind(
        root=str(root), image_size=8, batch_size=4, arch_fraction=0.5, broken_images=12, **more
    )
    data.augmentation = lambda: []  # type: ignore[method-assign] # colours must stay as they are
    data.setup("fit")
    halves = [[divmod(i, PER_CLASS) for i in indices] for indices in data._indices]
    # every class of a half keeps a readable image as replacement
    assert all({label for label, i in half if i % 2} == {0, 1} for half in halves)
    batches, _, _ = zip(*data.train_dataloader(), strict=True)
    for name, half in zip(("train", "val"), halves, strict=True):
        images = torch.cat([batch[name][0] for batch in batches])
        mean, std = (torch.tensor(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        pixels = (images[:, :, 4, 4] * std + mean) * 255
        found = {tuple(p) for p in pixels.round().int().tolist()}
        assert found == {colour(label, i) for label, i in half if i % 2}
    assert len(data.broken) == 12


def batches(images: ImageFiles, context: str | None, workers: int) -> list[tuple[Tensor, Tensor]]:
    """Two epochs of an unshuffled loader."""
    sampler = EpochSampler(range(len(images.labels)), shuffle=False)
    loader: Any = DataLoader(
        AugmentedDataset(images, PILToTensor(), seed=0),
        batch_size=5,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
    )
    return [batch for _ in range(2) for batch in loader]


@pytest.mark.parametrize(
    ("context", "workers"),
    [(None, 0), ("fork", 2), pytest.param("spawn", 2, marks=pytest.mark.long)],
)
def test_workers_count_together_and_give_the_same_batches(
    context: str | None, workers: int, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["train/cat/02.png", "train/cat/07.png", "train/dog/05.png"]
    paths = damage(root, *names)
    alone = batches(files(root, allowed=3), None, 0)
    capfd.readouterr()
    images = files(root, allowed=3)
    for one, other in zip(batches(images, context, workers), alone, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert images.broken == paths  # found by the workers, known in this process
    err = capfd.readouterr().err
    named = Counter(re.findall(r"nas: '(.+?)' cannot be read", err))
    assert named == dict.fromkeys(paths, 1)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_more_than_allowed_stop_workers(workers: int, root: Path) -> None:
    damage(root, "train/cat/02.png", "train/cat/07.png", "train/dog/05.png")
    with pytest.raises(
        DataError, match=r"cannot be read .* unreadable image number 3, but at most 2 "
    ):
        batches(files(root, allowed=2), None, workers)
    gc.collect()  # torch waits for its workers here: seconds that are no other test's


def test_order_and_size_of_batches_stay_as_they_were(root: Path) -> None:
    def labels() -> list[list[int]]:
        data = ImageFolder(root=str(root), batch_size=5, image_size=8, broken_images=5, seed=1)
        data.setup("fit")
        return [
            b["train"][1].tolist() + b["val"][1].tolist() for b, _, _ in data.train_dataloader()
        ]

    whole = labels()
    damage(root, "train/cat/02.png", "train/dog/05.png")
    assert labels() == whole


def test_the_test_set_has_a_count_of_its_own(root: Path) -> None:
    paths = damage(root, "train/cat/02.png", "val/cat/02.png")
    data = ImageFolder(root=str(root), mode="retrain", val_fraction=0, broken_images=1,
                       batch_size=4, image_size=8)  # fmt: skip
    assert data.broken == []
    data.setup()
    train: Any = data.train_dataloader()
    for loader in (train, data.test_dataloader()):
        assert sum(len(y) for _, y in loader) == 2 * PER_CLASS
    assert data.broken == paths


def test_a_negative_number_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="broken_images must be at least 0, found -1"):
        ImageFolder(root=str(root), broken_images=-1)


# -- through the command line ----------------------------------------------------------------------

FOLDER = {
    "data": "ImageFolder",
    "data.mode": "retrain",
    "data.root": "data",
    "data.image_size": "8",
    "data.batch_size": "4",
    "data.val_fraction": "0.25",
    "trainer.max_epochs": "3",
    "model.genotype": "DARTS_V2",
}


def nas(run: str, *more: str) -> int:
    given = [item for key, value in FOLDER.items() for item in (f"--{key}", value)]
    return main(["fit", "--config", "retrain.yaml", *given, "--run_dir", run, *more])


@pytest.mark.parametrize(("way", "workers"), [("mend", 0), ("skip", 2)])
def test_a_stopped_run_resumes_to_the_same_end(
    way: str,
    workers: int,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root.parent)
    Path("retrain.yaml").write_text(RETRAIN, encoding="utf-8")
    write(root / "train" / "cat" / "12.png", 0, 12)  # 19 to train on: four batches, three left out
    more = ["--data.num_workers", str(workers)]
    path = met_in_the_second_epoch()
    content = path.read_bytes()
    damage(root, str(path.relative_to("data")))
    capfd.readouterr()

    assert nas("runs/stopped", *more) == 1
    err = capfd.readouterr().err.strip()
    assert err.splitlines() == [
        f"nas: The image '{path}' cannot be read (image file is truncated). It is unreadable "
        "image number 1, but at most 0 may be skipped: replace or remove it, or raise "
        "--data.broken_images."
    ]
    saved = torch.load("runs/stopped/checkpoints/last.ckpt", weights_only=True)
    assert saved["ImageFolder"] == {"epoch": 1, "batch": 0}

    if way == "mend":
        path.write_bytes(content)
    else:
        more += ["--data.broken_images", "1"]
    assert nas("runs/stopped", *more, "--ckpt_path", "last") == 0
    err = capfd.readouterr().err
    assert err.count("cannot be read") == (way == "skip")  # once in two epochs
    assert nas("runs/whole", *more) == 0
    ends = [
        torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)
        for name in ("stopped", "whole")
    ]
    assert ends[0]["epoch"] == ends[1]["epoch"] == 2
    assert ends[0]["ImageFolder"] == ends[1]["ImageFolder"] == {"epoch": 3, "batch": 0}
    one, other = (end["state_dict"] for end in ends)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
