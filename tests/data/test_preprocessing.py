"""The recorded preprocessing gives what validation gives, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from nas_lightning.data import (
    CIFAR10,
    Digits,
    ImageFolder,
    ImageMasks,
    Preprocessing,
    Signals,
    Synthetic,
)
from nas_lightning.data.dataset import TensorImages
from nas_lightning.errors import ContentError, DataError, UsageError
from nas_lightning.training.meaning import preprocessing

SIZES = {"RGB": (40, 30), "L": (25, 61), "RGBA": (33, 33), "P": (24, 24), "I;16": (30, 20)}
GOOD: dict[str, Any] = {"size": 8, "resize": 9, "order": "L", "mean": [0.5], "std": [0.25]}


def paint(folder: Path) -> None:
    """Noise of several modes and sizes, and one picture on its side."""
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            place = folder / part / name
            place.mkdir(parents=True)
            for number, (mode, (width, height)) in enumerate(SIZES.items()):
                generator = torch.Generator().manual_seed(number)
                noise = torch.randint(256, (height, width, 4), generator=generator).byte().numpy()
                image = Image.fromarray(noise, "RGBA") if mode != "I;16" else None
                if image is None:
                    grey = noise[..., 0].astype("uint16") * 256
                    Image.fromarray(grey).save(place / f"{number}.png")
                    continue
                exif = Image.Exif()
                exif[0x0112] = 6 if mode == "RGB" else 1  # a quarter turn
                image.convert(mode).save(place / f"{number}.png", exif=exif)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("size", [7, 16, 32])
def test_image_folders(size: int, tmp_path: Path) -> None:
    paint(tmp_path)
    data = ImageFolder(root=str(tmp_path), image_size=size, mode="retrain", background=99)
    data.setup("validate")
    steps = data.preprocessing
    assert steps is not None
    files = data._sets["val"].files  # type: ignore[attr-defined] # an `ImageFiles`
    images = torch.cat([x for x, _ in data.val_dataloader()])
    assert len(images) == 2 * len(SIZES)
    for path, image in zip(files, images, strict=True):
        assert torch.equal(steps(path), image), path
        assert torch.equal(steps(str(path)), image)
        with Image.open(path) as opened:
            assert torch.equal(steps(opened), image)


def test_digits(tmp_path: Path) -> None:
    data = Digits(mode="retrain")
    data.setup("test")
    steps = data.preprocessing
    assert steps is not None
    x, _ = next(iter(data.test_dataloader()))
    stored = data._sets["test"]
    assert isinstance(stored, TensorImages)
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.fromarray(stored.images[number, 0].numpy()).save(path)
        assert torch.equal(steps(path), x[number])


def test_cifar_is_normalised_as_its_stored_images() -> None:
    data = CIFAR10()
    steps = data.preprocessing
    assert steps is not None
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(256, (3, 32, 32), generator=generator).byte()
    (normalise,) = data.eval_transform()
    image = Image.fromarray(stored.permute(1, 2, 0).numpy())
    assert torch.equal(steps(image), normalise(stored))


class OwnSteps(Digits):
    def eval_transform(self) -> list[nn.Module]:
        return [*super().eval_transform(), nn.Hardtanh()]


def test_without_known_steps_there_is_none() -> None:
    assert OwnSteps().preprocessing is None
    assert Synthetic().preprocessing is None  # floats, not pictures
    assert preprocessing(Signals(train_size=4, test_size=4)) is None
    assert preprocessing(None) is None


def test_plain_data_gives_an_equal_one() -> None:
    steps = Preprocessing(**{**GOOD, "white": 4095.0})
    assert Preprocessing.from_dict(steps.to_dict()) == Preprocessing.from_dict(
        {**GOOD, "background": 255, "white": 4095.0}
    )
    assert str(steps).startswith("resized to 9, ")
    assert "8x8 pixels, L, mean 0.5, std 0.25" in str(steps)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"size": 0}, "size must be at least 1"),
    ({"resize": 7}, "resize must be at least 8"),
    ({"mean": [0.5, 0.5]}, "order L needs 1 values each as mean and std, found 2 and 1"),
    ({"background": 256}, "background must be at least 0 and at most 255"),
    ({"order": "BGR"}, "expected 'RGB' or 'L', found 'BGR'"),
    ({"extra": 1}, "unknown key 'extra'"),
    ({"std": [0.0]}, "std must be above 0"),
]


@pytest.mark.parametrize(("change", "text"), WRONG)
def test_wrong_values_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ContentError) as caught:
        Preprocessing.from_dict({**GOOD, **change})
    assert text in str(caught.value)


def test_an_attribute_of_another_kind_is_refused() -> None:
    data: Any = type("Mine", (), {"preprocessing": "grey"})()
    with pytest.raises(UsageError, match=r"Mine: preprocessing must be a nas_lightning\.data"):
        preprocessing(data)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no image")
    steps = Preprocessing(**GOOD)
    with pytest.raises(DataError, match=r"x\.png' cannot be read: not an image"):
        steps(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"y\.png' cannot be read: No such file"):
        steps(tmp_path / "y.png")


def test_small_images_become_larger() -> None:
    steps = Preprocessing(size=8, resize=8, order="RGB", mean=[0.0] * 3, std=[1.0] * 3)
    x: Tensor = steps(Image.new("RGB", (2, 3), (0, 51, 255)))
    assert torch.allclose(x, torch.tensor([0, 0.2, 1]).view(3, 1, 1).expand(3, 8, 8))


def test_without_a_crop_the_whole_image_is_resized(tmp_path: Path) -> None:
    """As in data with masks or tables, whose images are resized to squares."""
    for number, size in enumerate(((20, 10), (9, 30))):
        noise = torch.randint(256, (size[1], size[0], 3)).byte().numpy()
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "images" / f"{number}.png")
    data = ImageMasks(root=str(tmp_path), classes=["a", "b"], image_size=12)
    data.setup("predict")
    steps = data.preprocessing
    assert steps is not None
    assert steps.resize is None
    assert str(steps).startswith("whole image resized to 12x12 pixels, RGB, mean 0.485")
    batch = next(iter(data.predict_dataloader()))
    for number, x in enumerate(batch[0]):
        assert torch.equal(steps(tmp_path / "images" / f"{number}.png"), x)
