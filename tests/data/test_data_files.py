"""CIFAR and image folders: made-up files, and real ones where NAS_TEST_DATA names a folder."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from nas_lightning.data import CIFAR10, CIFAR100, ImageFolder
from nas_lightning.errors import DataError, UsageError

# raised inside Lightning by a newer torch
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")


def real(name: str) -> Path:
    folder = Path(os.environ.get("NAS_TEST_DATA", "")) / name
    if "NAS_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"needs {name} in the folder that NAS_TEST_DATA names")
    return folder


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_missing_cifar(kind: type[CIFAR10], tmp_path: Path) -> None:
    data = kind(root=str(tmp_path))
    data.prepare_data()  # never fetches without being asked
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"not found in .*cifar-100?-.*--data.download true"):
        data.setup("fit")


def test_damaged_cifar(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cut off")
    with pytest.raises(DataError, match="damaged or incomplete"):
        CIFAR10(root=str(tmp_path)).setup("test")


def write(path: Path, content: dict[str, Any]) -> list[str]:
    path.write_bytes(pickle.dumps(content))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


def test_cifar_in_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    labels = [i % 10 for i in range(20)]
    train = write(folder / "data_batch_1", {"data": pixels, "labels": labels})
    test = write(folder / "test_batch", {"data": pixels[::-1].copy(), "labels": labels[::-1]})
    names = [f"c{i}" for i in range(10)]
    meta = write(folder / "batches.meta", {"label_names": names})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [train])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [test])
    described = {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", described)

    data = CIFAR10(root=str(tmp_path), mode="retrain", batch_size=20)
    data.setup()
    assert data.class_names == tuple(names)
    x, y = next(iter(data.test_dataloader()))
    assert y.tolist() == labels[::-1]
    # red, green, blue planes, row by row, as the data set's page says
    raw = torch.from_numpy(pixels[::-1].reshape(20, 3, 32, 32) / 255)
    mean = torch.tensor([0.49139968, 0.48215827, 0.44653124]).view(3, 1, 1)
    std = torch.tensor([0.24703233, 0.24348505, 0.26158768]).view(3, 1, 1)
    torch.testing.assert_close(x.double(), (raw - mean) / std, rtol=1e-5, atol=1e-5)


@pytest.mark.realdata
def test_real_cifar10() -> None:
    root = real("cifar-10-batches-py").parent
    data = CIFAR10(root=str(root), batch_size=500, cutout=16)
    data.setup()
    assert data.class_names is not None
    assert data.class_names[0] == "airplane"
    batch, _, _ = next(iter(data.train_dataloader()))
    assert batch["train"][0].shape == (500, 3, 32, 32)
    base: Any = data._sets["train"]
    assert torch.bincount(torch.tensor(base.labels)).tolist() == [5000] * 10
    pixels = base.images.float().div(255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(pixels.mean(1), torch.tensor(data.mean), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std(1), torch.tensor(data.std), atol=1e-4, rtol=0)
    assert [len(part) for part in data._indices] == [25000, 25000]


MODES = ["L", "P", "CMYK", "RGBA", "RGB", "I;16"]


def image(mode: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    grey = np.random.default_rng(0).integers(0, 256, size[::-1]).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 256)
    return Image.fromarray(grey).convert("RGB").convert(mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, every mode."""
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i, mode in enumerate(MODES):
                suffix = "jpg" if mode == "CMYK" else "png"
                image(mode).save(folder / f"{i}.{suffix}")
            (folder / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
def test_every_mode_becomes_rgb(root: Path, workers: int) -> None:
    data = ImageFolder(
        root=str(root), image_size=16, batch_size=6, num_workers=workers, cutout=4, mode="retrain",
        val_fraction=0,
    )  # fmt: skip
    assert data.data_spec == {"in_channels": 3, "num_classes": 2, "image_size": 16}
    assert data.class_names == ("cat", "dog")
    data.setup()
    labels = []
    train: Any = data.train_dataloader()
    for loader in (train, data.test_dataloader()):
        for x, y in loader:
            assert x.shape == (6, 3, 16, 16)
            labels += y.tolist()
    assert sorted(labels) == [0] * 12 + [1] * 12
    # the same picture whatever the mode, but for rounding, JPEG and the palette
    x, _ = next(iter(data.test_dataloader()))
    for lossless in (3, 4, 5):
        torch.testing.assert_close(x[lossless], x[0], atol=0.05, rtol=0)


def test_test_folder_goes_before_val(root: Path) -> None:
    (root / "val" / "cat").rename(root / "cat")
    (root / "val" / "dog").rename(root / "dog")
    (root / "test").mkdir()
    (root / "cat").rename(root / "test" / "cat")
    (root / "dog").rename(root / "test" / "dog")
    data = ImageFolder(root=str(root))
    data.setup("test")
    files: Any = data._sets["test"]
    assert {p.parent.parent.name for p in files.files} == {"test"}


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train' was not found: set --data.root"):
        _ = ImageFolder(root=str(tmp_path)).data_spec


def test_no_classes(tmp_path: Path) -> None:
    (tmp_path / "train" / ".cache").mkdir(parents=True)
    with pytest.raises(DataError, match="no class folders"):
        ImageFolder(root=str(tmp_path))


def test_no_test_set(root: Path) -> None:
    (root / "val").rename(root / "other")
    with pytest.raises(DataError, match="no test set"):
        ImageFolder(root=str(root)).setup("test")


def test_empty_class(root: Path) -> None:
    for path in (root / "train" / "dog").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="dog' contains no images"):
        ImageFolder(root=str(root)).setup("fit")


def test_other_classes_in_the_test_set(root: Path) -> None:
    (root / "val" / "dog").rename(root / "val" / "wolf")
    with pytest.raises(DataError, match=r"val' has class wolf, which the training set does not"):
        ImageFolder(root=str(root)).setup("test")


@pytest.mark.parametrize("length", [0, 100])
def test_damaged_image_is_named(root: Path, length: int) -> None:
    path = root / "val" / "dog" / "4.png"
    path.write_bytes(path.read_bytes()[:length])
    data = ImageFolder(root=str(root), batch_size=4)
    data.setup("test")
    with pytest.raises(DataError, match=r"dog.4.png' cannot be read"):
        list(data.test_dataloader())


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with one core
def test_damaged_image_is_named_by_a_worker(root: Path) -> None:
    (root / "val" / "dog" / "4.png").write_bytes(b"no image")
    data = ImageFolder(root=str(root), batch_size=4, num_workers=1)
    data.setup("test")
    with pytest.raises(DataError, match=r"dog.4.png' cannot be read"):
        list(data.test_dataloader())


def test_image_size_is_checked(root: Path) -> None:
    with pytest.raises(UsageError, match="ImageFolder: image_size must be at least 1, found 0"):
        ImageFolder(root=str(root), image_size=0)


@pytest.mark.realdata
def test_real_photographs() -> None:
    data = ImageFolder(root=str(real("tiny-imagenet-10")), batch_size=50, mode="retrain")
    assert data.data_spec["num_classes"] == 10
    data.setup()
    train: Any = data.train_dataloader()
    batches = list(train)
    assert len(batches) == 18
    assert all(x.shape == (50, 3, 64, 64) and x.isfinite().all() for x, _ in batches)
    labels = torch.cat([y for _, y in data.test_dataloader()])
    assert torch.bincount(labels).tolist() == [50] * 10
