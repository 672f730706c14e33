"""Images on the device: the batches are those of the loaders, but for the draws."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jsonargparse
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from nas_lightning.data import CIFAR10, Digits, ImageData, InMemoryImages, Synthetic
from nas_lightning.data.device_loader import DeviceLoader
from nas_lightning.errors import UsageError
from tests.data.test_data_modules import rank_of

# raised inside Lightning by a newer torch
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")

MODES: dict[str, dict[str, Any]] = {
    "search": {"mode": "search", "arch_fraction": 0.4},
    "single level": {"mode": "search", "single_level": True},
    "retrain": {"mode": "retrain"},
}


def digits(on_device: bool = True, **settings: Any) -> Digits:
    # most of the images in the test set, to be quick
    arguments: dict[str, Any] = {"test_fraction": 0.7, "batch_size": 32, "cutout": 4, **settings}
    data = Digits(on_device=on_device, **arguments)
    data.setup()
    return data


def training(data: Any) -> dict[str, Any]:
    """The loaders of a training, by name."""
    found = data.train_dataloader()
    return dict(found.iterables) if isinstance(found, CombinedLoader) else {"": found}


def epochs(loader: Any, count: int = 2) -> list[tuple[Tensor, Tensor]]:
    batches = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)
        found = list(loader)
        assert len(found) == len(loader)
        batches += found
    return batches


def by_index(loader: Any, epoch: int = 0) -> dict[int, Tensor]:
    """The pixels of each sample in an epoch."""
    loader.sampler.set_epoch(epoch)
    order = [index for _, index in loader.sampler]
    rows = torch.cat([x for x, _ in loader])
    return dict(zip(order, rows, strict=False))  # the last batch may be left out


@pytest.mark.parametrize("mode", MODES)
def test_training_batches_have_the_same_samples_in_the_same_order(mode: str) -> None:
    there, here = (training(digits(place, **MODES[mode])) for place in (True, False))
    assert there.keys() == here.keys()
    for name in there:
        assert isinstance(there[name], DeviceLoader)
        assert isinstance(here[name], DataLoader)
        assert len(there[name]) == len(here[name])
        batches = [epochs(loaders[name]) for loaders in (there, here)]
        for (x, y), (x_here, y_here) in zip(*batches, strict=True):
            assert torch.equal(y, y_here)
            assert (y.dtype, x.dtype, x.shape) == (y_here.dtype, x_here.dtype, x_here.shape)


@pytest.mark.parametrize("mode", ["search", "retrain"])
def test_without_draws_training_batches_are_equal(mode: Any) -> None:
    pair = [Synthetic(mode=mode, batch_size=24, on_device=place) for place in (True, False)]
    for data in pair:
        data.setup()
    there, here = (training(data) for data in pair)
    for name in there:
        for ours, theirs in zip(epochs(there[name]), epochs(here[name]), strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("stage", ["val", "test", "predict"])
@pytest.mark.parametrize("kind", [Digits, Synthetic])
def test_evaluation_batches_are_equal(kind: Any, stage: str) -> None:
    pair = [kind(batch_size=50, mode="retrain", on_device=place) for place in (True, False)]
    for data in pair:
        data.setup()
    there, here = (getattr(data, f"{stage}_dataloader")() for data in pair)
    # Lightning warns about predictions from others than its own loaders
    assert isinstance(there, DataLoader if stage == "predict" else DeviceLoader)
    assert len(there) == len(here)
    for (x, y), (x_here, y_here) in zip(there, here, strict=True):
        assert torch.equal(y, y_here)
        torch.testing.assert_close(x, x_here, rtol=1e-6, atol=1e-6)


def test_a_sample_looks_the_same_in_any_batch_process_and_after_a_resume() -> None:
    whole = by_index(training(digits(mode="retrain"))[""], epoch=3)
    other_size = by_index(training(digits(mode="retrain", batch_size=7))[""], epoch=3)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    shares: list[dict[int, Tensor]] = [
        by_index(training(rank_of(digits(mode="retrain"), rank, 2, strategy=strategy))[""], epoch=3)
        for rank in range(2)
    ]
    assert not shares[0].keys() & shares[1].keys()
    resumed = training(digits(mode="retrain"))[""]
    resumed.sampler.resume(3, 64)
    rest = [x for x, _ in resumed]
    assert len(rest) == len(resumed) - 2
    assert torch.equal(torch.cat(rest), torch.stack(list(whole.values()))[64:])
    for some in (other_size, *shares):
        common = whole.keys() & some.keys()
        assert len(common) > 200
        assert all(torch.equal(whole[i], some[i]) for i in common)


def test_epochs_and_seeds_look_different() -> None:
    def look(seed: int, epoch: int) -> dict[int, Tensor]:
        return by_index(training(digits(mode="retrain", seed=seed))[""], epoch)

    first = look(0, 0)
    for other in (look(0, 1), look(1, 0)):
        common = first.keys() & other.keys()
        same = sum(torch.equal(first[i], other[i]) for i in common)
        assert same < len(common) / 20  # of 9 shifts and 64 squares


def test_two_ranks_share_the_evaluation() -> None:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    ranks = [rank_of(digits(), rank, 2, strategy=strategy) for rank in range(2)]
    for stage in ("val", "test"):
        loaders: list[Any] = [getattr(data, f"{stage}_dataloader")() for data in ranks]
        whole: Any = getattr(digits(), f"{stage}_dataloader")()
        shares = [torch.cat([y for _, y in loader]) for loader in loaders]
        labels = torch.cat([y for _, y in whole])
        assert torch.equal(shares[0], labels[::2])
        assert torch.equal(shares[1], labels[1::2])


def test_a_rank_without_samples_gives_no_batch() -> None:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data = Synthetic(test_size=1, on_device=True)
    loader: Any = rank_of(data, 1, 2, strategy=strategy).test_dataloader()
    assert len(loader) == 0
    assert list(loader) == []


def test_the_images_stay_bytes_and_are_copied_to_the_device_once() -> None:
    """The meta device replaces one that is not the CPU."""
    strategy = SimpleNamespace(root_device=torch.device("meta"))
    data = rank_of(Digits(cutout=4, on_device=True), 0, 1, strategy=strategy)
    halves: Any = data.train_dataloader()
    validation: Any = data.val_dataloader()
    stored = [loader.data for loader in (*halves.iterables.values(), validation)]
    assert stored[0] is stored[1] is stored[2]
    assert stored[0].images.dtype == torch.uint8
    assert len(stored[0].images) == len(stored[0].labels) == 1438
    for batch, _, _ in halves:
        for x, y in batch.values():
            assert x.device.type == y.device.type == "meta"
            assert (x.dtype, x.shape, y.shape) == (torch.float32, (64, 1, 8, 8), (64,))
    assert data._sets["train"].images.device.type == "cpu"


def test_another_device_gets_a_copy_of_its_own() -> None:
    data = digits()
    for name in ("meta", "cpu"):
        rank_of(data, 0, 1, strategy=SimpleNamespace(root_device=torch.device(name)))
        x, y = next(iter(training(data)["val"]))
        assert x.device.type == y.device.type == name


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types for it
    """Counts operations that make the host wait for the device or move data."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_pinned", "_pin_memory")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.calls += 1
        name = func.overloadpacket.__name__
        if name in self.names:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def waits(loader: Any, batches: int = 3) -> Waits:
    iterator = iter(loader)
    next(iterator)  # makes the plan of the epoch
    seen = Waits()
    with seen:
        for _ in range(batches):
            next(iterator)
    assert seen.calls > 0
    return seen


def test_batches_do_not_wait_for_the_device() -> None:
    assert waits(training(digits())["train"]).found == []
    assert waits(digits().test_dataloader()).found == []
    # the loader of samples reads its draws: the counter would have seen it
    assert waits(training(digits(on_device=False))["train"]).found != []


def test_loading_processes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"on_device.*set num_workers to 0 instead of 2"):
        Digits(on_device=True, num_workers=2)


def test_steps_of_a_subclass_are_not_left_out() -> None:
    class Own(Digits):
        def train_transform(self) -> list[nn.Module]:
            return []

    Own()
    with pytest.raises(UsageError, match=r"does not use Own\.train_transform: override prep"):
        Own(on_device=True)


def test_command_line_knows_it_where_it_is_possible() -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageData, "data")
    for name in ("Digits", "CIFAR10", "CIFAR100", "Synthetic"):
        arguments = [f"--data=nas_lightning.data.{name}", "--data.on_device=true"]
        data = parser.instantiate(parser.parse_args(arguments)).data
        assert isinstance(data, InMemoryImages)
        assert data.on_device
    for name in ("ImageFolder", "ImageNet"):
        with pytest.raises(jsonargparse.ArgumentError):
            parser.parse_args([f"--data=nas_lightning.data.{name}", "--data.on_device=true"])


def test_both_ways_of_a_declaration_augment_alike() -> None:
    """Over many epochs an image is seen in the same variants by both."""

    class Made(CIFAR10):
        num_classes = 2

        def load(self, part: Any) -> Any:
            made = Synthetic(train_size=2, image_size=32).load("train")
            made.images = made.images.mul(50).add(128).clamp(1, 255).byte()
            return made

    seen = []
    for place in (True, False):
        data = Made(mode="retrain", val_fraction=0, batch_size=1, on_device=place)
        data.setup("fit")
        [loader] = training(data).values()
        looks = torch.stack([by_index(loader, epoch)[0] for epoch in range(1500)])
        # bytes again: the two may round differently in the last bit
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
        seen.append({x.numpy().tobytes() for x in ((looks * std + mean) * 255).round().byte()})
    assert len(seen[0]) == 162  # 9 x 9 shifts, mirrored or not
    assert seen[0] == seen[1]
