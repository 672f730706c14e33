import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from nas_lightning.data import Cutout, ToRGB
from nas_lightning.data.transforms import NormalizeBytes


def masks_by_brute_force(height: int, width: int, length: int) -> set[tuple[int, ...]]:
    masks = set()
    for y, x in itertools.product(range(height), range(width)):
        mask = torch.ones(height, width, dtype=torch.int)
        for i, j in itertools.product(range(height), range(width)):
            if -(length // 2) <= i - y < length // 2 and -(length // 2) <= j - x < length // 2:
                mask[i, j] = 0
        masks.add(tuple(mask.flatten().tolist()))
    return masks


@pytest.mark.parametrize(("height", "width", "length"), [(5, 7, 4), (4, 4, 8), (3, 3, 2)])
def test_cutout_masks_are_those_of_the_definition(height: int, width: int, length: int) -> None:
    torch.manual_seed(0)
    image = torch.rand(2, height, width) + 1
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(60 * height * width):
        result = Cutout(length)(image)
        zero = result == 0
        assert torch.equal(zero[0], zero[1])  # all channels alike
        assert torch.equal(result[~zero], image[~zero])
        seen[tuple((~zero[0]).int().flatten().tolist())] += 1
    assert set(seen) == masks_by_brute_force(height, width, length)
    assert torch.all(image >= 1)  # the input is not written to


def test_normalize_bytes_agrees_with_torchvision() -> None:
    mean, std = (0.49, 0.48, 0.44), (0.24, 0.23, 0.26)
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    torch.testing.assert_close(NormalizeBytes(mean, std)(image), reference(image))


def rgb(image: Image.Image) -> list[int]:
    result = ToRGB()(image)
    assert result.mode == "RGB"
    assert result.size == image.size
    return list(np.asarray(result)[0, 0])


def test_to_rgb() -> None:
    assert rgb(Image.new("L", (2, 3), 77)) == [77, 77, 77]
    assert rgb(Image.new("RGB", (2, 3), (1, 2, 3))) == [1, 2, 3]
    # over white: 255 - 128 / 255 * (255 - value)
    assert rgb(Image.new("RGBA", (2, 3), (1, 2, 3, 128))) == [128, 128, 129]
    assert rgb(Image.new("LA", (2, 3), (9, 128))) == [132, 132, 132]
    assert rgb(Image.new("CMYK", (2, 3), (255, 0, 0, 0))) == [0, 255, 255]
    assert rgb(Image.new("1", (2, 3), 1)) == [255, 255, 255]
    assert rgb(Image.fromarray(np.full((3, 2), 77 * 256 + 5, dtype=np.uint16))) == [77, 77, 77]


def test_palette_with_transparent_entries(tmp_path: Path) -> None:
    image = Image.new("P", (2, 3), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert rgb(image) == [10, 20, 30]
    image.save(tmp_path / "p.png", transparency=b"\x00\x80")
    with Image.open(tmp_path / "p.png") as stored:
        assert stored.mode == "P"
        assert rgb(stored) == [132, 137, 142]  # over white
