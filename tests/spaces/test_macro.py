import pytest
import torch

from nas_lightning.errors import UsageError
from nas_lightning.layers.stems import CifarStem, ImageNetStem, StemName, feature_sizes
from nas_lightning.spaces import cell_kinds


@pytest.mark.parametrize(
    ("layers", "reductions"), [(8, [2, 5]), (20, [6, 13]), (14, [4, 9]), (3, [1, 2]), (1, [0])]
)
def test_reductions_are_at_one_and_two_thirds(layers: int, reductions: list[int]) -> None:
    kinds = cell_kinds(layers)
    assert len(kinds) == layers
    assert [i for i, kind in enumerate(kinds) if kind == "reduce"] == reductions
    assert set(kinds) <= {"normal", "reduce"}


def test_a_network_without_cells_is_refused() -> None:
    with pytest.raises(UsageError, match="layers = 0"):
        cell_kinds(0)


@pytest.mark.parametrize(
    ("image", "stem", "layers", "expected"),
    [
        (32, "cifar", 8, [32, 32, 16, 16, 16, 8, 8, 8]),
        (224, "imagenet", 14, [28] * 4 + [14] * 5 + [7] * 5),
        (8, "cifar", 3, [8, 4, 2]),
    ],
)
def test_sizes_of_the_papers(image: int, stem: StemName, layers: int, expected: list[int]) -> None:
    assert feature_sizes(image, stem, cell_kinds(layers)) == expected


@pytest.mark.parametrize(
    ("image", "stem", "where"),
    [
        (31, "cifar", "31x31 before reduction cell 1"),
        (30, "cifar", "15x15 before reduction cell 2"),
        (4, "imagenet", "1x1 after the stem"),
        (80, "imagenet", "5x5 before reduction cell 2"),
    ],
)
def test_an_odd_size_is_refused_with_its_place(image: int, stem: StemName, where: str) -> None:
    with pytest.raises(UsageError, match=where) as error:
        feature_sizes(image, stem, cell_kinds(3))
    assert f"{image}x{image}" in str(error.value)


@pytest.mark.parametrize("image", [32, 62, 64, 96])
def test_the_imagenet_stem_has_the_computed_size(image: int) -> None:
    s0, s1 = ImageNetStem(3, 4)(torch.zeros(2, 3, image, image))
    assert feature_sizes(image, "imagenet", ["normal"]) == [s1.shape[-1]]
    assert s0.shape[-1] == 2 * s1.shape[-1]


def test_the_cifar_stem_keeps_the_size_and_feeds_both_inputs() -> None:
    stem = CifarStem(3, 4, multiplier=3)
    s0, s1 = stem(torch.randn(2, 3, 6, 6))
    assert s0.shape == (2, 12, 6, 6)
    assert s0 is s1
    assert stem.channels == (12, 12)
    # one 3x3 convolution without bias, scale and shift
    assert sum(p.numel() for p in stem.parameters()) == 3 * 12 * 9 + 2 * 12


def test_parameters_of_the_imagenet_stem() -> None:
    c = 8
    expected = 3 * (c // 2) * 9 + (c // 2) * c * 9 + c * c * 9 + 2 * (c // 2 + c + c)
    assert sum(p.numel() for p in ImageNetStem(3, c).parameters()) == expected
