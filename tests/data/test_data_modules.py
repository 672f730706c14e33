"""Batches from the loaders of the data modules."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import jsonargparse
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader

from nas_lightning.data import Digits, HalvedData, ImageData, Synthetic
from nas_lightning.data.loaders import Loader
from nas_lightning.errors import UsageError

# raised inside Lightning by a newer torch
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")


def indices_of(loader: Loader, epoch: int = 0) -> list[int]:
    sampler: Any = loader.sampler
    sampler.set_epoch(epoch)
    return [index for _, index in sampler]


def loaders(data: HalvedData[Any]) -> dict[str, Loader]:
    halves: Any = data.train_dataloader()
    return dict(halves.iterables)


def loader(data: HalvedData[Any]) -> Loader:
    result = data.train_dataloader()
    assert isinstance(result, DataLoader)
    return result


def rank_of(data: HalvedData[Any], rank: int, world_size: int, **more: Any) -> HalvedData[Any]:
    """Pretend that a trainer with several processes is attached."""
    none = SimpleNamespace(started=0, processed=0, ready=0)
    progress = SimpleNamespace(current=none, is_last_batch=False)
    loop = SimpleNamespace(
        epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress)
    )
    connector = SimpleNamespace(use_distributed_sampler=more.pop("use_distributed_sampler", False))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank,
        world_size=world_size,
        fit_loop=loop,
        overfit_batches=0,
        _accelerator_connector=connector,
        **more,
    )
    data.setup()
    return data


def test_halves_are_disjoint_stratified_and_cover_the_training_set() -> None:
    data = Digits(batch_size=8, arch_fraction=0.5)
    data.setup("fit")
    halves = {name: indices_of(half) for name, half in loaders(data).items()}
    seen = {name: set(indices) for name, indices in halves.items()}
    assert not seen["train"] & seen["val"]
    assert sorted(seen["train"] | seen["val"]) == list(range(1438))  # 1,797 less the test set
    labels = {name: Counter(y for _, y in _samples(data, name)) for name in halves}
    assert all(abs(labels["train"][c] - labels["val"][c]) <= 1 for c in range(10))
    validation: Any = data.val_dataloader()
    assert set(indices_of(validation)) == seen["val"]
    assert len(indices_of(validation)) == len(seen["val"])


def _samples(data: HalvedData[Any], name: str) -> list[tuple[Tensor, int]]:
    half = loaders(data)[name]
    return [half.dataset[0, i] for i in set(indices_of(half))]  # type: ignore[misc]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_both_halves_give_equally_many_batches(fraction: float) -> None:
    data = Digits(batch_size=32, arch_fraction=fraction)
    data.setup("fit")
    batches = [batch for batch, _, _ in data.train_dataloader()]
    larger = max(fraction, 1 - fraction) * 1438
    assert len(batches) == int(larger) // 32
    for batch in batches:
        assert set(batch) == {"train", "val"}
        for x, y in batch.values():
            assert x.shape == (32, 1, 8, 8)
            assert x.dtype == torch.float32
            assert y.shape == (32,)
    lengths = {len(half) for half in loaders(data).values()}
    assert lengths == {len(batches)}


def test_the_halves_are_shuffled_differently() -> None:
    data = Synthetic(train_size=200, num_classes=2, batch_size=10)
    data.setup("fit")
    positions = []
    for half in loaders(data).values():
        indices = indices_of(half)
        positions.append([sorted(indices).index(i) for i in indices])
    assert positions[0] != positions[1]


def test_retrain_parts() -> None:
    data = Digits(batch_size=16, mode="retrain", val_fraction=0.25)
    data.setup()
    train = indices_of(loader(data))
    validation: Any = data.val_dataloader()
    held_out = indices_of(validation)
    assert sorted(train + held_out) == list(range(1438))
    assert len(held_out) == round(0.25 * 1438)
    data = Digits(batch_size=16, mode="retrain", val_fraction=0)
    data.setup()
    assert sorted(indices_of(loader(data))) == list(range(1438))
    assert data.val_dataloader() == []


@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_two_ranks_share_every_loader(mode: Any) -> None:
    ranks = [rank_of(Digits(batch_size=32, mode=mode), rank, 2) for rank in range(2)]
    single = Digits(batch_size=32, mode=mode)
    single.setup()
    for epoch in (0, 3):
        for kind in ("val", "test", "predict"):
            pick = [getattr(d, f"{kind}_dataloader")() for d in [*ranks, single]]
            *shares, whole = (indices_of(p, epoch) for p in pick)
            assert sorted(shares[0] + shares[1]) == sorted(whole)
            assert not set(shares[0]) & set(shares[1])
        names = ["train", "val"] if mode == "search" else [""]
        for name in names:
            pick = [loaders(d)[name] if name else loader(d) for d in [*ranks, single]]
            a, b, whole = (indices_of(p, epoch) for p in pick)
            assert len(a) == len(b)
            assert not set(a) & set(b)
            assert sorted(a + b) == sorted(whole[: len(a) + len(b)])
            assert len(pick[0]) == len(pick[1])


def test_training_is_augmented_and_evaluation_is_not() -> None:
    data = Digits(batch_size=32)
    data.setup()
    half = loaders(data)["val"]
    validation: Any = data.val_dataloader()
    index = indices_of(validation)[0]
    drawn = {half.dataset[epoch, index][0].numpy().tobytes() for epoch in range(40)}
    assert len(drawn) == 9  # every shift by -1, 0, 1 in both directions
    plain = {validation.dataset[epoch, index][0].numpy().tobytes() for epoch in range(40)}
    assert len(plain) == 1
    assert plain <= drawn


def test_digits_are_scikit_learns() -> None:
    data = Digits(mode="retrain", val_fraction=0)
    data.setup()
    base = [data._sets["train"], data._sets["test"]]
    images = torch.cat([b.images for b in base]).flatten(1)  # type: ignore[attr-defined]
    labels = [*base[0].labels, *base[1].labels]
    pixels, targets = load_digits(return_X_y=True)
    ours = Counter(
        (*(x.float() * 16 / 255).round().int().tolist(), y)
        for x, y in zip(images, labels, strict=True)
    )
    theirs = Counter((*x.astype(int).tolist(), y) for x, y in zip(pixels, targets, strict=True))
    assert ours == theirs
    assert len(base[1].labels) == 359
    batch = torch.cat([x for x, _ in data.test_dataloader()])
    assert abs(batch.mean()) < 0.02
    assert abs(batch.std() - 1) < 0.02


def test_the_test_set_does_not_depend_on_the_seed() -> None:
    sets = []
    for seed in (0, 1):
        data = Digits(seed=seed)
        data.setup()
        sets.append(torch.cat([x for x, _ in data.test_dataloader()]))
    assert torch.equal(sets[0], sets[1])


def test_the_seed_changes_split_order_and_augmentation() -> None:
    first, second = Digits(seed=0), Digits(seed=1)
    for data in (first, second):
        data.setup("fit")
    halves = [loaders(data)["train"] for data in (first, second)]
    orders = [indices_of(half) for half in halves]
    assert set(orders[0]) != set(orders[1])
    common = sorted(set(orders[0]) & set(orders[1]))
    images = [torch.stack([half.dataset[0, i][0] for i in common]) for half in halves]
    assert not torch.equal(images[0], images[1])


def test_cutout_comes_after_normalisation() -> None:
    data = Synthetic(cutout=8, image_size=16, mode="retrain", batch_size=4)
    data.setup("fit")
    x, _ = next(iter(loader(data)))
    zeros = (x == 0).all(dim=1).sum(dim=(1, 2))
    assert all(16 <= n <= 64 for n in zeros.tolist())
    validation: Any = data.val_dataloader()
    assert not (next(iter(validation))[0] == 0).any()


def test_synthetic_is_learnable_and_as_specified() -> None:
    data = Synthetic(
        in_channels=2, num_classes=4, image_size=9, train_size=103, test_size=50, batch_size=103,
        mode="retrain", val_fraction=0,
    )  # fmt: skip
    assert data.data_spec == {"in_channels": 2, "num_classes": 4, "image_size": 9}
    data.setup()
    x, y = next(iter(loader(data)))
    assert x.shape == (103, 2, 9, 9)
    assert set(y.tolist()) == set(range(4))
    means = torch.stack([x[y == c].mean(0) for c in range(4)])
    tx, ty = next(iter(data.test_dataloader()))
    nearest = (tx[:, None] - means).flatten(2).norm(dim=2).argmin(1)
    assert (nearest == ty).float().mean() > 0.95
    assert not torch.equal(x[:10], tx[:10])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size must be .* found 0"),
        ({"arch_fraction": 0.0}, "arch_fraction"),
        ({"arch_fraction": 1.0}, "arch_fraction"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"val_fraction": -0.1}, "val_fraction"),
        ({"mode": "serch"}, "mode is 'serch'"),
        ({"cutout": -1}, "cutout"),
        ({"num_workers": -1}, "num_workers"),
        ({"test_fraction": 1.5}, "test_fraction"),
    ],
)
def test_settings_out_of_range(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Digits(**arguments)


def test_synthetic_refuses_empty_sets() -> None:
    with pytest.raises(UsageError, match=r"train_size must be .* found 0"):
        Synthetic(train_size=0)


def test_a_half_smaller_than_a_batch() -> None:
    data = Digits(batch_size=200, arch_fraction=0.1)
    data.setup()
    with pytest.raises(UsageError, match=r"architecture half has 144 images.* batch of 200.*lower"):
        data.train_dataloader()
    ranks = rank_of(Digits(batch_size=100, arch_fraction=0.1), 0, 2)
    with pytest.raises(UsageError, match="on each of 2 processes"):
        ranks.train_dataloader()


def test_lightnings_own_sampler_is_refused() -> None:
    with pytest.raises(UsageError, match="use_distributed_sampler"):
        rank_of(Digits(), 0, 2, use_distributed_sampler=True)


def test_arguments_are_attributes() -> None:
    arguments = {
        "batch_size": 3, "mode": "retrain", "arch_fraction": 0.3, "val_fraction": 0.2,
        "cutout": 2, "seed": 9, "num_workers": 1, "test_fraction": 0.4,
    }  # fmt: skip
    data: Any = Digits(**arguments)  # type: ignore[arg-type]
    assert {name: getattr(data, name) for name in arguments} == arguments


def test_command_line_knows_the_common_arguments() -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageData, "data")
    for name in ("Digits", "CIFAR10", "CIFAR100", "Synthetic"):
        values = ["--data.batch_size=32", "--data.mode=retrain", "--data.seed=4"]
        cfg = parser.parse_args([f"--data=nas_lightning.data.{name}", *values])
        data = parser.instantiate(cfg).data
        assert (data.batch_size, data.mode, data.seed) == (32, "retrain", 4)
        assert set(data.data_spec) == {"in_channels", "num_classes", "image_size"}
        with pytest.raises(jsonargparse.ArgumentError):
            parser.parse_args([f"--data=nas_lightning.data.{name}", "--data.btch_size=1"])


def test_the_seed_of_the_run_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def order(**kwargs: int) -> list[int]:
        data = Digits(batch_size=50, mode="retrain", **kwargs)
        data.setup("fit")
        loader = data.train_dataloader()
        assert isinstance(loader, DataLoader)
        return [int(label) for _, labels in loader for label in labels]

    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    assert order() == order(seed=3) != order(seed=4)
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert order() == order(seed=0)
