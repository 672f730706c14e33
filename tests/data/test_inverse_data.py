"""Inverse problems: y = A x + noise, halves, ranks, resume, and a test set of its own."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from nas_lightning.data import InverseData, Photographs, Signals
from nas_lightning.data.photographs import TEST_COLUMN
from nas_lightning.errors import UsageError
from nas_lightning.operators import (
    Blur,
    BlurDownsample,
    Identity,
    Inpainting,
    Operator,
    build_operator,
)
from nas_lightning.retrain import RetrainModule
from nas_lightning.search import SearchModule
from tests.data.test_data_modules import indices_of, loader, loaders, rank_of
from tests.data.test_data_resume import Save, train

KINDS: list[Callable[..., InverseData]] = [Signals, Photographs]


def open_(data: InverseData) -> InverseData:
    data.setup()
    return data


def all_of(data: InverseData, part: typing.Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    pairs = data._sets[part]
    return pairs.y, pairs.x


# -- measurements ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operator", [Identity(), Blur(1.0, 5), BlurDownsample()], ids=repr)
@pytest.mark.parametrize("noise", [0.01, 0.2])
def test_a_measurement_is_the_operator_plus_noise(
    kind: Callable[..., InverseData], operator: Operator, noise: float
) -> None:
    data = open_(kind(operator=operator, noise=noise))
    rests = []
    for part in ("train", "test"):
        y, x = all_of(data, part)
        rest = (y - operator(x)).double()
        assert float(rest.std()) == pytest.approx(noise, rel=0.03)
        assert abs(float(rest.mean())) < 4 * noise / rest.numel() ** 0.5
        rests.append(rest)
    assert not torch.equal(rests[0][:100], rests[1][:100])  # another draw
    neighbours = rests[0].flatten(1)
    correlation = (neighbours[:, 1:] * neighbours[:, :-1]).mean() / noise**2
    assert abs(float(correlation)) < 0.02  # white


@pytest.mark.parametrize("kind", KINDS)
def test_without_noise(kind: Callable[..., InverseData]) -> None:
    y, x = all_of(open_(kind(noise=0.0)), "test")
    assert torch.equal(y, Blur()(x))


@pytest.mark.parametrize("kind", KINDS)
def test_batches(kind: Callable[..., InverseData]) -> None:
    data = open_(kind(operator=BlurDownsample(), batch_size=20))
    spec = data.data_spec
    n = [spec["image_size"]] * spec["dims"]
    m = [size // 4 for size in n]
    halves: Any = data.train_dataloader()
    batch = next(iter(halves))[0]
    assert set(batch) == {"train", "val"}
    batches = [*batch.values()]
    plain = open_(kind(operator=BlurDownsample(), batch_size=20, mode="retrain"))
    batches.append(next(iter(loader(plain))))
    for y, x in batches:
        assert y.shape == (20, 1, *m)
        assert x.shape == (20, 1, *n)
        assert x.dtype == y.dtype == torch.float32
        # the two belong together: noise has a deviation of 0.05
        assert float((y - BlurDownsample()(x)).std()) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_drawn_again_in_another_epoch(kind: Callable[..., InverseData]) -> None:
    data = open_(kind())
    for name in ("train", "val"):
        dataset = loaders(data)[name].dataset
        assert all(torch.equal(a, b) for a, b in zip(dataset[0, 5], dataset[7, 5], strict=True))


# -- halves, seeds, ranks ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_halves_are_disjoint_and_cover(kind: Any, fraction: float) -> None:
    data = open_(kind(train_size=200, batch_size=8, arch_fraction=fraction))
    seen = {name: set(indices_of(half)) for name, half in loaders(data).items()}
    assert not seen["train"] & seen["val"]
    assert seen["train"] | seen["val"] == set(range(200))
    assert len(seen["val"]) == 200 * fraction
    validation: Any = data.val_dataloader()
    assert set(indices_of(validation)) == seen["val"]
    assert len(data.test_dataloader().sampler) == len(all_of(data, "test")[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_level_draws_from_all(kind: Any) -> None:
    data = open_(kind(train_size=100, batch_size=10, single_level=True))
    orders = [indices_of(half) for half in loaders(data).values()]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(100))
    assert orders[0] != orders[1]
    assert data.val_dataloader() == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_changes_the_split_and_nothing_else(kind: Any) -> None:
    first, second = (open_(kind(train_size=100, batch_size=10, seed=seed)) for seed in (0, 1))
    for part in ("train", "test"):
        pairs = zip(all_of(first, part), all_of(second, part), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    halves = [set(indices_of(loaders(data)["train"])) for data in (first, second)]
    assert halves[0] != halves[1]
    again = open_(kind(train_size=100, batch_size=10, seed=0))
    orders = [indices_of(loaders(data)["train"]) for data in (first, again)]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_two_ranks_get_disjoint_samples(kind: Any, mode: Any) -> None:
    def data() -> Any:
        return kind(train_size=101, test_size=51, batch_size=10, mode=mode)

    ranks, single = [rank_of(data(), rank, 2) for rank in range(2)], open_(data())
    for pick in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        a, b, whole = (indices_of(getattr(d, pick)()) for d in (*ranks, single))
        assert sorted(a + b) == sorted(whole)
        assert not set(a) & set(b)
    for name in ["train", "val"] if mode == "search" else [""]:
        a, b, whole = (
            indices_of(loaders(d)[name] if name else loader(d), epoch=2) for d in (*ranks, single)
        )
        assert len(a) == len(b) == len(whole) // 2
        assert not set(a) & set(b)
        assert sorted(a + b) == sorted(whole[: len(a) + len(b)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_a_run_resumes_in_the_middle_of_an_epoch(kind: Any, mode: Any, tmp_path: Path) -> None:
    def data() -> Any:
        return kind(train_size=300, batch_size=32, mode=mode)

    path = tmp_path / "x.ckpt"
    whole = train(mode, data=data(), saves=[Save(path, "on_train_batch_end", 1)])
    state = torch.load(path, weights_only=True)[kind.__name__]
    assert state == {"epoch": 1, "batch": 2}
    size = 4 if mode == "search" else 8
    assert len(whole) == 3 * size
    assert train(mode, data=data(), ckpt=path) == whole[size + 2 :]


# -- photographs -------------------------------------------------------------------------------


def places(patches: Tensor) -> list[tuple[int, int, int]]:
    """Photograph, top and left of each patch, by searching for it."""
    weights = np.array([0.299, 0.587, 0.114])
    grey = [photograph @ weights / 255 for photograph in load_sample_images().images]
    size = patches.shape[-1]
    found = []
    for patch in patches[:, 0].double().numpy():
        for number, photograph in enumerate(grey):
            corner = photograph[: -size + 1, : -size + 1]
            for top, left in np.argwhere(np.abs(corner - patch[0, 0]) < 1e-6):
                there = photograph[top : top + size, left : left + size]
                if np.allclose(there, patch, atol=1e-6):
                    found.append((number, int(top), int(left)))
    return found


def test_patches_are_disjoint_and_test_patches_are_from_a_region_of_their_own() -> None:
    data = open_(Photographs(train_size=60, test_size=60))
    train_places, test_places = (places(all_of(data, part)[1]) for part in ("train", "test"))
    assert len(train_places) == len(test_places) == 60
    covered = np.zeros((2, 427, 640), dtype=int)
    for number, top, left in train_places + test_places:
        covered[number, top : top + 32, left : left + 32] += 1
    assert covered.max() == 1
    assert max(left + 32 for _, _, left in train_places) <= TEST_COLUMN
    assert min(left for _, _, left in test_places) >= TEST_COLUMN
    assert {number for number, _, _ in train_places} == {0, 1}


def test_all_patches() -> None:
    data = open_(Photographs())
    sets = [all_of(data, "train")[1], all_of(data, "test")[1]]
    assert [len(x) for x in sets] == [364, 156]  # as the docstring says
    for x in sets:
        assert x.shape[1:] == (1, 32, 32)
        assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert len(np.unique(torch.cat(sets).flatten(1).numpy(), axis=0)) == 520
    assert data.data_spec["peak"] == 1.0
    first = open_(Photographs(train_size=10))
    assert torch.equal(all_of(first, "train")[1], sets[0][:10])


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_specification_is_plain_data(kind: Any) -> None:
    operator = BlurDownsample(1.0, 5, 2)
    spec = kind(operator=operator).data_spec
    assert list(spec) == ["in_channels", "image_size", "dims", "peak", "operator"]
    assert repr(build_operator(spec["operator"])) == repr(operator)
    # saved in a checkpoint with the modules, and loaded again
    for module in (SearchModule, RetrainModule):
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        hint = typing.get_type_hints(module.__init__)["data_spec"]
        parser.add_argument("--spec", type=hint)
        config = parser.parse_object({"spec": spec})
        assert parser.instantiate(config).spec == spec


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Signals(noise=-0.1), "noise must be .* found -0.1"),
        (lambda: Signals(size=0), "size must be .* found 0"),
        (lambda: Signals(train_size=0), "train_size must be .* found 0"),
        (lambda: Signals(test_size=0), "test_size must be .* found 0"),
        (lambda: Signals(batch_size=0), "batch_size must be .* found 0"),
        (lambda: Signals(num_workers=-1), "num_workers must be .* found -1"),
        (lambda: Signals(mode="serch"), "mode is 'serch'"),
        (lambda: Signals(operator=Inpainting(32)), "set size to that of the data"),
        (lambda: Signals(size=30, operator=BlurDownsample()), "stride 4 must divide"),
        (lambda: Photographs(size=0), "size must be .* found 0"),
        (lambda: Photographs(size=193), "size must be .* at most 192, found 193"),
        (
            lambda: Photographs(train_size=365),
            "train_size must be .* at most 364, found 365",
        ),
        (lambda: Photographs(test_size=0), "test_size must be .* at most 156, found 0"),
        (lambda: Photographs(operator=Inpainting(64)), "set size to that of the data"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()


@pytest.mark.parametrize(("kind", "word"), [(Signals, "signals"), (Photographs, "patches")])
def test_a_half_smaller_than_a_batch(kind: Any, word: str) -> None:
    data = open_(kind(train_size=100, batch_size=64))
    with pytest.raises(UsageError, match=rf"half has 50 {word}.* batch of 64 .*lower batch_size"):
        data.train_dataloader()


def test_the_command_line_makes_the_operator() -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(InverseData, "data")
    values = [
        "--data.operator=nas_lightning.operators.BlurDownsample", "--data.operator.stride=2",
        "--data.noise=0.01", "--data.train_size=30", "--data.seed=4",
    ]  # fmt: skip
    for name in ("Signals", "Photographs"):
        config = parser.parse_args([f"--data=nas_lightning.data.{name}", *values])
        data = parser.instantiate(config).data
        assert repr(data.operator) == "BlurDownsample(sigma=2.0, taps=9, stride=2)"
        assert (data.noise, data.train_size, data.seed) == (0.01, 30, 4)
