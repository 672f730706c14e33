"""ImageNet folders: the images of a search, their augmentation, and the test set."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from nas_lightning.data import ImageNet
from nas_lightning.data.listing import list_images
from nas_lightning.errors import DataError, UsageError

SIZES = {"n01": 40, "n02": 80, "n03": 120}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of 40, 80 and 120 files without content, and ImageNet's flat `test`."""
    for name, size in SIZES.items():
        for part, count in (("train", size), ("val", 5)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / part / name / f"{name}_{i * 7919 % 10_000}.JPEG").touch()
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ILSVRC2012_test_00000001.JPEG").touch()
    return tmp_path


def parts(root: Path, **kwargs: Any) -> tuple[ImageNet, list[list[Path]]]:
    """The data module after its setup, and the files of its two parts."""
    data = ImageNet(root=str(root), batch_size=4, **kwargs)
    data.setup("fit")
    images: Any = data._sets["train"]
    return data, [[images.files[i] for i in indices] for indices in data._indices]


def classes(files: list[Path]) -> dict[str, int]:
    return dict(Counter(path.parent.name for path in files))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_draws_ten_and_two_and_a_half_percent_of_each_class(root: Path, seed: int) -> None:
    _, (weight, arch) = parts(root, seed=seed)
    assert classes(weight) == {"n01": 4, "n02": 8, "n03": 12}
    assert classes(arch) == {"n01": 1, "n02": 2, "n03": 3}
    assert not set(weight) & set(arch)
    assert {path.parent.parent.name for path in weight + arch} == {"train"}


def test_the_parts_are_those_of_the_seed(root: Path) -> None:
    drawn = [parts(root, seed=seed)[1] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]
    assert drawn[0][1] != drawn[2][1]


def test_every_image_can_be_drawn_for_the_weights(root: Path) -> None:
    seen = Counter(path for seed in range(60) for path in parts(root, seed=seed)[1][0])
    assert len(seen) > 0.98 * sum(SIZES.values())  # 60 draws of 10 %: 0.2 % are never drawn
    assert max(seen.values()) < 18  # 6 expected, deviation 2.3


def test_an_epoch_is_once_the_weight_part_and_the_other_again_and_again(root: Path) -> None:
    data, (weight, arch) = parts(root)
    loaders: Any = data.train_dataloader().iterables  # type: ignore[union-attr]
    drawn = {name: Counter(i for _, i in loaders[name].sampler) for name in ("train", "val")}
    assert len(loaders["train"]) == len(loaders["val"]) == len(weight) // 4 == 6
    assert set(drawn["train"]) == set(data._indices[0])
    assert set(drawn["train"].values()) == {1}
    assert set(drawn["val"]) == set(data._indices[1])
    assert set(drawn["val"].values()) == {4}
    assert len(arch) == 6


def test_a_single_level_draws_both_from_the_weight_part(root: Path) -> None:
    data, (weight, arch) = parts(root, single_level=True)
    assert classes(weight) == {"n01": 4, "n02": 8, "n03": 12}
    assert arch == []
    assert data.val_dataloader() == []
    loaders: Any = data.train_dataloader().iterables  # type: ignore[union-attr]
    orders = [[i for _, i in loaders[name].sampler] for name in ("train", "val")]
    assert sorted(orders[0]) == sorted(orders[1]) == data._indices[0]
    assert orders[0] != orders[1]


def test_parts_may_take_all_there_is(root: Path) -> None:
    _, (weight, arch) = parts(root, weight_fraction=0.75, arch_fraction=0.25)
    assert len(weight) + len(arch) == sum(SIZES.values()) == len({*weight, *arch})


def test_a_retraining_takes_all_but_what_chooses_the_checkpoint(root: Path) -> None:
    data, (train, val) = parts(root, mode="retrain", val_fraction=0.1)
    assert classes(train) == {"n01": 36, "n02": 72, "n03": 108}
    assert classes(val) == {"n01": 4, "n02": 8, "n03": 12}
    assert {path.parent.parent.name for path in train + val} == {"train"}
    data, (train, val) = parts(root, mode="retrain", val_fraction=0)
    assert classes(train) == SIZES
    assert data.val_dataloader() == []


def test_val_is_the_test_set_and_test_is_left_alone(root: Path) -> None:
    data = ImageNet(root=str(root))
    assert data.data_spec == {"in_channels": 3, "num_classes": 3, "image_size": 224}
    data.setup("test")
    images: Any = data._sets["test"]
    assert {path.parent.parent.name for path in images.files} == {"val"}
    assert images.labels == [0] * 5 + [1] * 5 + [2] * 5
    assert data.class_names == ("n01", "n02", "n03")


def test_val_that_was_not_sorted_into_classes(root: Path) -> None:
    for path in (root / "val").rglob("*.JPEG"):
        path.rename(root / "val" / path.name)
    for name in SIZES:
        (root / "val" / name).rmdir()
    with pytest.raises(DataError, match=r"val' has none of the class folders"):
        ImageNet(root=str(root)).setup("test")


@pytest.mark.parametrize("fraction", [0, -0.1, 0.98, 1.1])
def test_fractions_that_do_not_fit(root: Path, fraction: float) -> None:
    with pytest.raises(UsageError, match=r"weight_fraction is .*at most 0\.975"):
        ImageNet(root=str(root), weight_fraction=fraction)


@pytest.mark.parametrize(
    ("part", "fraction"), [("weight half", "weight_fraction"), ("architecture half", "arch_frac")]
)
def test_too_large_a_batch_names_the_fraction_of_its_part(
    root: Path, part: str, fraction: str
) -> None:
    data = ImageNet(root=str(root), batch_size=30 if part == "weight half" else 20)
    data.setup("fit")
    with pytest.raises(UsageError, match=f"The {part} has .* change {fraction}"):
        data.train_dataloader()


def photograph(seed: int = 0) -> Image.Image:
    """A smooth colour image, 300 wide and 260 high."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((300, 260), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of four JPEGs, one of them grey."""
    for part in ("train", "val"):
        for label, name in enumerate(("n01", "n02")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                image = photograph(10 * label + i).convert("L" if i == 3 else "RGB")
                image.save(tmp_path / part / name / f"{i}.JPEG")
    return tmp_path


def test_evaluation_is_that_of_the_papers(pictures: Path) -> None:
    # torchvision's first transforms, those of the released scripts, written independently of v2
    steps = [v1.Resize(256), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)]
    data = ImageNet(root=str(pictures), batch_size=8)
    data.setup("test")
    x, _ = next(iter(data.test_dataloader()))
    assert x.shape == (8, 3, 224, 224)
    for i in range(3):
        with Image.open(pictures / "val" / "n01" / f"{i}.JPEG") as image:
            torch.testing.assert_close(x[i], v1.Compose(steps)(image))
    grey = x[3] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    torch.testing.assert_close(grey, grey[:1].expand(3, 224, 224))


@pytest.mark.parametrize("colour_jitter", [True, False])
def test_augmentation_is_that_of_the_papers(colour_jitter: bool, pictures: Path) -> None:
    """With colour jitter for DARTS' retraining, without it for PC-DARTS' search."""
    jitter = v1.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
    steps = [v1.RandomResizedCrop(224), v1.RandomHorizontalFlip()]
    steps += [jitter] if colour_jitter else []
    theirs = v1.Compose([*steps, v1.ToTensor(), v1.Normalize(MEAN, STD)])
    data = ImageNet(root=str(pictures), colour_jitter=colour_jitter)
    ours = torch.nn.Sequential(*data.train_transform())
    image = photograph()
    for seed in range(20):  # both draw the same from the same generator
        torch.manual_seed(seed)
        expected = theirs(image)
        torch.manual_seed(seed)
        torch.testing.assert_close(ours(image), expected)


def test_files_of_subfolders_are_listed_and_hidden_ones_are_not(tmp_path: Path) -> None:
    names = ["a/x/2.jpg", "a/x/y/1.PNG", "a/3.JPEG", "a/._3.JPEG", "a/notes.txt", "b/ü ñ.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "folder.jpg").mkdir()
    files, labels, _ = list_images(tmp_path, ["a", "b"])
    listed = ["a/3.JPEG", "a/x/2.jpg", "a/x/y/1.PNG", "b/ü ñ.webp"]
    assert list(files) == files[:] == [tmp_path / name for name in listed]
    assert labels == [0, 0, 0, 1]
    assert files[-1].exists()
    with pytest.raises(IndexError):
        files[4]


@pytest.mark.realdata
def test_real_photographs() -> None:
    folder = Path(os.environ.get("NAS_TEST_DATA", "")) / "tiny-imagenet-10"
    if "NAS_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("needs tiny-imagenet-10 in the folder that NAS_TEST_DATA names")
    _, (weight, arch) = parts(folder)
    names = sorted(path.name for path in (folder / "train").iterdir())
    assert classes(weight) == dict.fromkeys(names, 10)
    # 25 of 1,000, two or three of each class
    assert set(classes(arch).values()) == {2, 3}
    assert len(arch) == 25

    steps = torch.nn.Sequential(*ImageNet(root=str(folder), image_size=64).eval_transform())
    grey = 0
    for part in ("train", "val"):
        for path in (folder / part).rglob("*.JPEG"):
            with Image.open(path) as image:
                if image.mode != "L":
                    continue
                rgb = steps(image) * torch.tensor(STD).view(3, 1, 1)
            grey += 1
            rgb += torch.tensor(MEAN).view(3, 1, 1)
            torch.testing.assert_close(rgb, rgb[:1].expand(3, 64, 64))
    assert grey == 13
