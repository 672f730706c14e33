"""`ImageMasks`: pairs of images and masks, joint augmentation, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas_lightning.cli import main
from nas_lightning.data import ImageMasks
from nas_lightning.data.read_mask import read_mask
from nas_lightning.errors import DataError, UsageError

SIZE = 12
LEVELS = (0, 80, 160)
"""Grey level of the pixels of each class in the images."""


def pattern(number: int) -> Any:
    """A mask whose classes are three areas without symmetry."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:9, 1 : 4 + number % 4] = 1
    mask[7:, 8:] = 2
    return mask


def write(folder: Path, name: str, mask: Any, suffix: str = ".png") -> None:
    """Write a mask, and the image whose grey levels it says."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    grey = np.array([*LEVELS, *[0] * 253], np.uint8)[mask]
    Image.fromarray(np.stack([grey] * 3, 2)).save(folder / "images" / f"{name}{suffix}")
    Image.fromarray(mask).save(folder / "masks" / f"{name}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks") / "data"
    for part, count in (("train", 16), ("test", 4)):
        for number in range(count):
            write(root / part, f"{number:02}", pattern(number))
    (root / "classes.txt").write_text("ground\nwall\nroof\n")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def data(root: Path, **more: Any) -> ImageMasks:
    given = {"image_size": SIZE, "batch_size": 4, "mode": "retrain", "seed": 0, **more}
    return ImageMasks(str(root), **given)


def classes_of(image: torch.Tensor) -> torch.Tensor:
    """Return the class that the red value of each pixel says, of normalised images."""
    byte = 255 * (image[:, 0] * 0.229 + 0.485)
    return (byte[..., None] - torch.tensor(LEVELS)).abs().argmin(-1)


def test_images_and_masks_stay_together_in_crops_and_flips(root: Path) -> None:
    """Enlarged, so that a pixel of a mask is that of the image but for blurred borders."""
    module = data(root, image_size=48)
    module.setup("fit")
    assert module.data_spec == {"in_channels": 3, "num_classes": 3, "image_size": 48}
    dataset = module.dataset(module._sets["train"], training=True)
    moved = set()
    for epoch in range(8):
        image, mask = dataset[epoch, 0]
        again = dataset[epoch, 0]
        assert torch.equal(again[0], image)
        assert torch.equal(again[1], mask)
        assert mask.shape == (48, 48)
        same = classes_of(image[None])[0] == mask
        assert same.float().mean() > 0.8, epoch
        moved.add(tuple(mask.flatten().tolist()))
        assert set(mask.unique().tolist()) <= {0, 1, 2}  # nearest pixel: no mixture
        mirrored = classes_of(image.flip(-1)[None])[0] == mask
        assert mirrored.float().mean() < same.float().mean()
    assert len(moved) == 8


def test_an_evaluation_sees_whole_images_as_they_are(made: Path) -> None:
    module = data(made)
    module.setup("test")
    ((images, masks),) = list(module.test_dataloader())
    for number in range(4):
        assert np.array_equal(masks[number].numpy(), pattern(number))
    assert torch.equal(classes_of(images), masks.long())
    plain = data(made, augment=False)
    plain.setup("fit")
    assert torch.equal(plain.dataset(plain._sets["train"], training=True)[3, 5][1],
                       torch.from_numpy(pattern(5)))  # fmt: skip


def test_what_a_run_says_at_its_start(root: Path) -> None:
    write(root / "val", "a", pattern(0))
    Image.fromarray(pattern(0)).save(root / "train/masks/more.png")
    (root / "train/images/notes.txt").touch()
    module = data(root)
    module.setup("fit")
    found = dict(module.summary())
    assert found["data"] == f"ImageMasks, {root}"
    assert found["classes"] == "3: ground, wall, roof"
    assert found["images"] == "training 16, validation 1"
    assert found["ignored in train/images/"] == "1 not images (.txt 1)"
    assert found["ignored in train/masks/"] == "1 without an image"
    walls = np.mean([pattern(number) == 1 for number in range(16)])
    assert f"wall {walls:.1%}, roof" in found["first 16 masks"]
    assert found["first 16 masks"].endswith("no label 0.0%")


@pytest.mark.parametrize(
    ("mode", "values"), [("P", None), ("1", [0, 1]), ("L", None), ("I;16", None)]
)
def test_masks_of_every_kind(mode: str, values: Any, tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4) % 2 if values else pattern(1)
    if mode == "I;16":
        image = Image.fromarray(numbers.astype(np.uint16))
    else:
        image = Image.fromarray(numbers * 255 if mode == "1" else numbers)
        image = image.convert("1") if mode == "1" else image
    if mode == "P":
        image = Image.new("P", (SIZE, SIZE))
        image.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0])
        image.putdata(numbers.flatten().tolist())
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), numbers)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_values_of_few_bits_are_not_scaled(bits: int, tmp_path: Path) -> None:
    """Pillow reads 1 of 2 bits as 85, and of 4 bits as 17."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    row = bytes([0b00011011]) if bits == 2 else bytes([0x01, 0x23])
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    (tmp_path / "m.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )  # fmt: skip
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1, 2, 3]]


def test_a_foreground_of_255_is_pointed_out(root: Path) -> None:
    for path in (root / "train/masks").iterdir():
        Image.fromarray(np.where(read_mask(path) == 1, 255, 0).astype(np.uint8)).save(path)
    module = data(root)
    module.setup("fit")
    assert "255 means no label" in dict(module.summary())["warning"]


def small(folder: Path) -> None:
    Image.new("L", (SIZE, SIZE - 1)).save(folder / "masks/03.png")


def high(folder: Path) -> None:
    write(folder, "03", np.full((SIZE, SIZE), 3, np.uint8))


def coloured(folder: Path) -> None:
    Image.new("RGB", (SIZE, SIZE)).save(folder / "masks/03.png")


def other(folder: Path) -> None:
    shutil.copy(folder / "images/03.png", folder / "images/03.bmp")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (small, r"The mask '.*03.png' has 12 by 11 pixels, but its image 12 by 12: save it"),
        (high, r"has pixels of value 3, but there are the classes ground, wall, roof, 0 to 2, "
         r"and 255 for no label"),
        (coloured, r"The mask '.*03.png' cannot be read \(its pixels are colours \(RGB\), not"),
        (other, "two images have the name '03', so they would share a mask"),
        (lambda x: (x / "masks/03.png").unlink(), r"image '.*03.png' has no mask: add '.*masks/03"),
        (lambda x: (x / "masks/03.png").write_bytes(b"GIF8"), r"cannot be read \(not a PNG file"),
        (lambda x: (x / "images/03.png").write_bytes(b""), r"The image '.*03.png' cannot be read"),
        (lambda x: shutil.rmtree(x / "masks"), "has no folder 'masks': images go into 'images'"),
        (shutil.rmtree, "train' was not found: set --data.root"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_the_start(damage: Any, message: str, root: Path) -> None:
    damage(root / "train")
    module = data(root)
    with pytest.raises(DataError, match=message) as caught:
        module.setup("fit")
    assert "\n" not in str(caught.value)


def test_classes_need_names(root: Path) -> None:
    module = data(root, classes=["a", "b", "c", "d"])
    assert module.data_spec["num_classes"] == 4
    with pytest.raises(UsageError, match="two different names or more, found 'a', 'a'"):
        data(root, classes=["a", "a"])
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"write '.*classes.txt' with one name a line, the first"):
        data(root)


def test_a_wrong_mask_ends_a_run_with_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also beyond the first masks, in a loader process."""
    for number in range(16, 40):
        write(root / "train", f"{number}", pattern(number))
    write(root / "train", "39", np.full((SIZE, SIZE), 9, np.uint8))
    line = (
        f"fit --config digits_idarts --data ImageMasks --data.root {root} --data.image_size 12 "
        f"--data.batch_size 4 --data.num_workers 1 --model.task Segmentation "
        f"--model.supernet.head dense --run_dir {tmp_path / 'run'} --trainer.max_epochs 1 "
        f"--model.supernet.channels 8 --model.supernet.layers 3 --trainer.accelerator cpu"
    )
    assert main(line.split()) == 1
    (said,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("nas:")]
    assert "39.png' has pixels of value 9, but there are the classes ground" in said
