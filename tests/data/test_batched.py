"""Steps on whole batches against torchvision's functions on single images, and their draws."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from nas_lightning.data import Preparation
from nas_lightning.data.batched import BatchCutout, BatchFlip, BatchNormalize, BatchShift
from nas_lightning.randomness import mix_seed, mix_seeds

MEAN, STD = (0.49, 0.48, 0.44), (0.24, 0.23, 0.26)
INT64 = st.integers(-(2**63), 2**63 - 1)


def images(count: int, height: int = 6, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    # no zeros: a zero in the result was filled in
    return torch.randint(1, 256, (count, 3, height, width), generator=generator).byte()


def every_draw(ranges: tuple[int, ...]) -> Tensor:
    """All values that a step may be told (N, number of draws)."""
    return torch.tensor(list(itertools.product(*(range(n) for n in ranges))))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("height", "width", "padding"), [(6, 6, 2), (5, 7, 1), (3, 3, 4)])
def test_shift_is_padding_and_cropping(
    height: int, width: int, padding: int, dtype: torch.dtype
) -> None:
    step = BatchShift(padding)
    draws = every_draw(step.ranges)
    assert len(draws) == (2 * padding + 1) ** 2  # every offset from 0 to 2p in both directions
    x = images(len(draws), height, width).to(dtype)
    expected = [
        tv.crop(tv.pad(image, [padding] * 4), top, left, height, width)
        for image, (top, left) in zip(x, draws.tolist(), strict=True)
    ]
    found = step(x, draws)
    assert found.dtype == dtype
    assert torch.equal(found, torch.stack(expected))


def test_flip_mirrors_where_it_is_told() -> None:
    x, draws = images(5), torch.tensor([[1], [0], [0], [1], [1]])
    expected = [
        tv.horizontal_flip(image) if draw else image
        for image, [draw] in zip(x, draws.tolist(), strict=True)
    ]
    assert torch.equal(BatchFlip()(x, draws), torch.stack(expected))


def test_normalize_is_torchvisions() -> None:
    x = images(4)
    expected = tv.normalize(x.float() / 255, list(MEAN), list(STD))
    found = BatchNormalize(MEAN, STD)(x, torch.empty(4, 0, dtype=torch.long))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 12])
def test_cutout_follows_the_rule(length: int) -> None:
    step = BatchCutout(length, size=6)
    draws = every_draw(step.ranges)
    assert len(draws) == 36  # every pixel may be the centre
    x = images(len(draws)).float()
    expected = x.clone()
    half = length // 2
    for image, (y, column) in zip(expected, draws.tolist(), strict=True):
        image[:, max(y - half, 0) : y + half, max(column - half, 0) : column + half] = 0
    assert torch.equal(step(x, draws), expected)
    assert bool((x > 0).all())  # the input is not written to


def test_steps_follow_each_other_with_their_own_draws() -> None:
    steps = Preparation(padding=2, flip=True, mean=MEAN, std=STD).for_batches(
        6, cutout=4, training=True
    )
    x = images(7)
    draws = torch.from_numpy(steps.draws(3, np.array([(0, i) for i in range(7)])))
    expected = []
    for image, (top, left, flip, y, column) in zip(x, draws.tolist(), strict=True):
        one = tv.crop(tv.pad(image, [2] * 4), top, left, 6, 6)
        one = tv.horizontal_flip(one) if flip else one
        one = tv.normalize(one.float() / 255, list(MEAN), list(STD))
        # after the normalisation: the mean colour
        one[:, max(y - 2, 0) : y + 2, max(column - 2, 0) : column + 2] = 0
        expected.append(one)
    torch.testing.assert_close(steps(x, draws), torch.stack(expected))


def test_evaluation_draws_nothing() -> None:
    steps = Preparation(padding=2, flip=True, mean=MEAN, std=STD).for_batches(
        6, cutout=4, training=False
    )
    assert steps.draws(0, np.zeros((3, 2), dtype=np.int64)).shape == (3, 0)
    assert len(steps.steps) == 1


def test_nothing_looks_at_values_or_stays_on_another_device() -> None:
    """Tensors on the meta device have no values to look at, and mix with no others."""
    steps = Preparation(padding=2, flip=True, mean=MEAN, std=STD).for_batches(
        6, cutout=4, training=True
    )
    draws = torch.empty(5, 5, dtype=torch.long, device="meta")
    found = steps.to("meta")(images(5).to("meta"), draws)
    assert found.shape == (5, 3, 6, 6)
    assert found.device.type == "meta"


@given(st.lists(INT64, max_size=3), st.lists(INT64, min_size=1, max_size=5), st.integers())
def test_mixed_arrays_are_mixed_integers(first: list[int], column: list[int], last: int) -> None:
    found = mix_seeds(*first, np.array(column), last)
    assert found.tolist() == [mix_seed(*first, value, last) for value in column]


def test_arrays_broadcast() -> None:
    rows, columns = np.array([[5], [-1], [2**62]]), np.array([0, 7])
    expected = [[mix_seed(3, r, c) for c in columns.tolist()] for [r] in rows.tolist()]
    assert mix_seeds(3, rows, columns).tolist() == expected


def test_draws_are_the_seeds_of_seed_epoch_index_and_place() -> None:
    steps = Preparation(padding=4, flip=True).for_batches(32, cutout=16, training=True)
    ranges = (9, 9, 2, 32, 32)
    pairs = [(0, 0), (0, 5), (3, 5), (599, 49_999)]
    expected = [
        [mix_seed(11, epoch, index, place) % n for place, n in enumerate(ranges)]
        for epoch, index in pairs
    ]
    assert steps.draws(11, np.array(pairs)).tolist() == expected


def test_draws_are_uniform_and_independent() -> None:
    steps = Preparation(padding=4, flip=True).for_batches(32, cutout=16, training=True)
    pairs = np.array([(epoch, index) for epoch in range(20) for index in range(2000)])
    draws = steps.draws(0, pairs)
    for column, n in zip(draws.T, (9, 9, 2, 32, 32), strict=True):
        assert chisquare(np.bincount(column, minlength=n)).pvalue > 1e-3
    # tops against lefts, and one image in one epoch against the same in the next
    cells = [draws[:, 0] * 9 + draws[:, 1]]
    cells.append(draws[:-2000, 0] * 9 + draws[2000:, 0])
    for both in cells:
        assert chisquare(np.bincount(both, minlength=81)).pvalue > 1e-3
    assert abs(draws[:, 2].mean() - 0.5) < 0.01
