"""Batches that grow at the ends of epochs: sizes, contents, and exact resume at every batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import pytest
import torch
from lightning import Callback, Trainer

from nas_lightning.data import ImageData, Synthetic
from nas_lightning.data.base import Part
from nas_lightning.data.dataset import TensorImages
from nas_lightning.data.growth import grown
from nas_lightning.data.sampler import EpochSampler
from nas_lightning.errors import UsageError
from nas_lightning.randomness import mix_seed
from tests.processes import run_two_processes

pytestmark = [
    # about the machine, not about the code
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    # raised inside Lightning by a newer torch
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"),
]
Mode = Literal["search", "retrain"]
# epoch, batch, whether it is the last of its epoch, batches of the epoch, numbers of the images
Step = tuple[int, int, bool, int, list[list[int]]]
GROWTH: dict[str, Any] = {"by": 4, "after": [0, 2]}
SIZES = [4, 8, 8, 12]


class Numbered(Synthetic):
    """Images of which each pixel is the number of the image."""

    def load(self, part: Part) -> TensorImages:
        size = self.train_size if part == "train" else self.test_size
        numbers = torch.arange(size)
        images = numbers.float()[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
        return TensorImages(images, (numbers % 2).tolist())


def numbered(mode: Mode = "search", **settings: Any) -> Numbered:
    return Numbered(
        **{"train_size": 48, "test_size": 10, "seed": 0, "batch_growth": GROWTH, **settings},
        in_channels=1,
        num_classes=2,
        image_size=4,
        batch_size=4,
        mode=mode,
        val_fraction=0.25,
    )


class Recorder(lightning.LightningModule):
    """Trains nothing, and remembers the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = False
        self.seen: list[Step] = []
        self.validated: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.step()
        parts = [batch["train"], batch["val"]] if isinstance(batch, dict) else [batch]
        numbers = [x[:, 0, 0, 0].long().tolist() for x, _ in parts]
        last, count = self.trainer.is_last_batch, int(self.trainer.num_training_batches)
        self.seen.append((self.current_epoch, batch_idx, last, count, numbers))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append(len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveEverywhere(Callback):
    """Saves a checkpoint at every place from which a run may resume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _save(self, trainer: Trainer, place: str) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch} {place}.ckpt")

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        self._save(trainer, f"batch {trainer.fit_loop.batch_idx}")

    def on_validation_end(self, trainer: Trainer, *_: object) -> None:
        if not trainer.sanity_checking:
            self._save(trainer, "validated")

    def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
        self._save(trainer, "end")


def train(
    data: Numbered, ckpt: Path | None = None, callbacks: Sequence[Callback] = (), **settings: Any
) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        **{"max_epochs": 4, "devices": 1, **settings},
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=data, ckpt_path=None if ckpt is None else str(ckpt))
    return module


def direct(data: Numbered, rank: int = 0, world_size: int = 1) -> list[Step]:
    """The steps of four epochs, computed from the order of the samples alone."""
    first, second = data._indices
    size = max(len(first), len(second)) if data.mode == "search" else len(first)
    halves = (first, second) if data.mode == "search" else (first,)
    steps: list[Step] = []
    for epoch, batch in enumerate(SIZES):
        orders = []
        for stream, half in enumerate(halves):
            sampler = EpochSampler(
                half, size, seed=mix_seed(0, stream), rank=rank, world_size=world_size
            )
            sampler.set_epoch(epoch)
            orders.append([index for _, index in sampler])
        count = size // world_size // batch
        steps += [
            (epoch, i, i == count - 1, count, [o[i * batch : (i + 1) * batch] for o in orders])
            for i in range(count)
        ]
    return steps


@pytest.mark.parametrize("mode", ["search", "retrain"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"on_device": True}, pytest.param({"num_workers": 1}, marks=pytest.mark.long)],
    ids=str,
)
def test_batches_of_each_epoch(mode: Mode, settings: dict[str, Any]) -> None:
    data = numbered(mode, **settings)
    module = train(data)
    assert module.seen == direct(data)
    held_out = 24 if mode == "search" else 12
    assert module.validated == [4, 4] + [4] * (held_out // 4) * 4  # after the sanity check


def test_halves_of_different_sizes() -> None:
    data = numbered(arch_fraction=0.25)
    module = train(data)
    assert module.seen == direct(data)
    assert [count for _, batch, _, count, _ in module.seen if batch == 0] == [9, 4, 4, 3]


@pytest.fixture(scope="module", params=["search", "retrain", "device"])
def checkpoints(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Callable[[], Numbered], Path, list[Step]]:
    def make() -> Numbered:
        on_device = request.param == "device"
        return numbered("search" if on_device else request.param, on_device=on_device)

    folder = tmp_path_factory.mktemp("everywhere")
    return make, folder, train(make(), callbacks=[SaveEverywhere(folder)]).seen


def test_resume_everywhere(checkpoints: tuple[Callable[[], Numbered], Path, list[Step]]) -> None:
    make, folder, whole = checkpoints
    places = sorted(folder.iterdir())
    assert len(places) == len(whole) + 2 * len(SIZES)  # all batches, validations and ends
    for path in places:
        state = torch.load(path, weights_only=True)["Numbered"]
        done = state["epoch"], state["batch"]
        assert train(make(), ckpt=path).seen == [s for s in whole if s[:2] >= done], path.name


def test_resume_with_workers(tmp_path: Path) -> None:
    whole = train(numbered(), callbacks=[SaveEverywhere(tmp_path)]).seen
    for place in ("0 end", "1 batch 0"):
        resumed = train(numbered(num_workers=1), tmp_path / f"{place}.ckpt")
        assert resumed.seen == whole[-len(resumed.seen) :]
        assert resumed.seen[0][:2] == ((1, 0) if place == "0 end" else (1, 1))


def test_limited_batches() -> None:
    data = numbered()
    seen = train(data, limit_train_batches=3).seen
    assert [s[:3] for s in seen] == [
        (e, i, i == n - 1) for e, n in enumerate([3, 3, 3, 2]) for i in range(n)
    ]
    assert [s[-1] for s in seen] == [s[-1] for s in direct(data) if s[1] < 3]


def two_ranks(folder: Path) -> None:
    data = numbered(train_size=96)
    module = train(data, devices=2, strategy="ddp_find_unused_parameters_true")
    rank = module.global_rank
    assert module.seen == direct(data, rank, 2)
    torch.save(module.seen, folder / f"{rank}.pt")


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    run_two_processes("tests.data.test_batch_growth", "two_ranks", tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, other in zip(first, second, strict=True):
        assert one[:4] == other[:4]
        for a, b in zip(one[4], other[4], strict=True):
            assert len(a) == len(b) == SIZES[one[0]]
            assert not set(a) & set(b)


def test_sizes_of_the_paper() -> None:
    growth: Any = {"by": 8, "after": [9, 14, 19, 24, 29, 34, 39, 44]}
    sizes = [grown(64, growth, epoch) for epoch in range(50)]
    assert sizes[:10] == [64] * 10
    assert sizes[10:15] == [72] * 5
    assert sizes[44:] == [120] + [128] * 5
    assert grown(64, growth) == 128


@pytest.mark.parametrize(
    ("growth", "message"),
    [
        ({"by": 0, "after": [1]}, r"Synthetic: batch_growth\.by must be at least 1, found 0"),
        ({"by": 8, "after": [-1]}, r"batch_growth\.after must be at least 0, found -1"),
        ({"by": 8, "after": [3, 3]}, r"batch_growth\.after must list epochs in increasing order"),
        ({"by": 8, "after": []}, r"batch_growth\.after must list epochs in increasing order"),
        ({"by": 8}, r"batch_growth needs the settings by and after, found by"),
    ],
)
def test_nonsense_is_refused(growth: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        Synthetic(batch_growth=growth)
    assert "\n" not in str(raised.value)


def test_a_half_smaller_than_the_largest_batch_is_refused_at_once() -> None:
    data: ImageData = numbered(batch_growth={"by": 8, "after": [1, 2, 3]})
    data.setup("fit")
    with pytest.raises(UsageError, match=r"24 images, fewer than one batch of 28 .* batch_growth"):
        data.train_dataloader()
